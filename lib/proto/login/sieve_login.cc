#include <algorithm>

#include "lib/base/ascii.h"
#include "lib/proto/login/login_dialect.h"
#include "lib/proto/sieve_strings.h"

namespace starttls::proto::login {
namespace {

/// Responses of ManageSieve (RFC 5804 §1.2). A line that begins with a string is part of a list, or
/// a challenge.
class SieveReplies final : public LoginReplies {
  using Kind = LoginPiece::Kind;

 public:
  using LoginReplies::LoginReplies;

  [[nodiscard]] Result<std::optional<LoginPiece>> next(std::string_view input) override {
    const auto line = sieve::next_whole_line(input, rules());
    if (!line) return fail(line.error());
    if (!line->has_value()) return std::nullopt;
    const auto [text, raw] = **line;
    if (text.starts_with('"') || text.starts_with('{')) {
      if (step() == LoginStep::list) return LoginPiece{.raw = raw, .list_line = text};
      return challenge(text, raw);
    }
    const auto word = ascii::first_word(text);
    const auto kind = kind_of_word(word);
    if (!kind) return invalid(text);
    // A text in a literal would need more than one line.
    const auto rest = text.substr(std::min(text.size(), word.size() + 1));
    const bool one_line = rest.find('\n') == std::string_view::npos;
    return LoginPiece{.kind = *kind,
                      .raw = raw,
                      .text = one_line ? std::string(rest) : std::string{},
                      .code = std::string(word)};
  }

 private:
  static std::optional<Kind> kind_of_word(std::string_view word) noexcept {
    if (ascii::iequals(word, "OK")) return Kind::success;
    if (ascii::iequals(word, "NO")) return Kind::refusal;
    if (ascii::iequals(word, "BYE")) return Kind::goodbye;
    return std::nullopt;
  }

  static Result<std::optional<LoginPiece>> challenge(std::string_view text, std::string_view raw) {
    auto rest = text;
    const auto content = sieve::take_string(rest);
    if (!content || !ascii::trim(rest).empty()) return invalid(text);
    return LoginPiece{.kind = Kind::challenge, .raw = raw, .text = *content};
  }
};

/// Reads `"SASL" "PLAIN LOGIN"`.
void read_sieve_offer(std::string_view line, LoginOffer& offer) {
  const auto name = sieve::take_string(line);
  if (!name || !ascii::iequals(*name, "SASL")) return;
  line = ascii::trim(line);
  if (const auto mechanisms = sieve::take_string(line)) add_mechanisms(*mechanisms, offer);
}

}  // namespace

constexpr LoginDialect kSieve{.list = "CAPABILITY",
                              .authenticate = "AUTHENTICATE",
                              .strings = true,
                              .read_offer = read_sieve_offer,
                              .replies = [](LineRules rules) -> std::unique_ptr<LoginReplies> {
                                return std::make_unique<SieveReplies>(rules);
                              }};

}  // namespace starttls::proto::login
