#include <algorithm>

#include "lib/base/ascii.h"
#include "lib/proto/login/login_dialect.h"
#include "lib/proto/sieve_strings.h"

namespace starttls::proto::login {
namespace {

/// Cuts the code of a response, "(TRYLATER)", off the rest of it (RFC 5804 §1.3). Its arguments are
/// strings, which may have any character. Returns "" if there is none.
std::string_view take_code(std::string_view& rest) {
  if (!rest.starts_with('(')) return {};
  auto left = rest.substr(1);
  while (!left.empty() && left.front() != ')') {
    const bool is_string = left.front() == '"' || left.front() == '{';
    if (!is_string) {
      left.remove_prefix(1);
    } else if (!sieve::take_string(left)) {
      return {};
    }
  }
  if (left.empty()) return {};
  const auto code = rest.substr(0, rest.size() - left.size() + 1);
  rest = left.substr(1);
  return code;
}

/// Returns the code and the text of a response, in one line and without quotes. A code with
/// arguments is for the proxy: the final message of a mechanism (SASL), another server (REFERRAL).
std::string in_one_line(std::string_view rest) {
  rest = ascii::trim(rest);
  const auto code = take_code(rest);
  rest = ascii::trim(rest);
  auto words = sieve::take_string(rest).value_or(std::string(rest));
  std::replace_if(
      words.begin(), words.end(), [](char c) { return c == '\r' || c == '\n'; }, ' ');
  if (code.empty() || code.find_first_of(" \"{") != std::string_view::npos) return words;
  return words.empty() ? std::string(code) : std::string(code) + ' ' + words;
}

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
    return LoginPiece{.kind = *kind,
                      .raw = raw,
                      .text = in_one_line(text.substr(word.size())),
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
