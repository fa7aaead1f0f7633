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
  std::replace(words.begin(), words.end(), '\r', ' ');
  std::replace(words.begin(), words.end(), '\n', ' ');
  if (code.empty() || code.find_first_of(" \"{") != std::string_view::npos) return words;
  return words.empty() ? std::string(code) : std::string(code) + ' ' + words;
}

/// True if the string of a line that comes after the secret is a challenge, and no capability. A
/// server then asks for nothing, or reports its error: the base64 of a "{", and what follows it.
bool is_late_challenge(std::string_view content) noexcept {
  return content.empty() || content.starts_with("ey") || content.starts_with("ew");
}

/// Responses of ManageSieve (RFC 5804 §1.2). A line that begins with a string is part of a list, or
/// a challenge. Once the server has the secret, a list may come with its success. A challenge is
/// one string, a capability one or two. So the decision needs no other line.
class SieveReplies final : public LoginReplies {
  using Kind = LoginPiece::Kind;

 public:
  using LoginReplies::LoginReplies;

  [[nodiscard]] Result<std::optional<LoginPiece>> next(std::string_view input) override {
    const auto line = sieve::next_whole_line(input, rules());
    if (!line) return fail(line.error());
    if (!line->has_value()) return std::nullopt;
    const auto [text, raw] = **line;
    if (text.starts_with('"') || text.starts_with('{')) return on_strings(text, raw);
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

  Result<std::optional<LoginPiece>> on_strings(std::string_view text, std::string_view raw) const {
    if (step() == LoginStep::list) return LoginPiece{.raw = raw, .list_line = text};
    auto rest = text;
    const auto content = sieve::take_string(rest);
    if (!content) return invalid(text);
    const bool may_be_listed = step() == LoginStep::sasl_secret;
    rest = ascii::trim(rest);
    if (rest.empty() && (!may_be_listed || is_late_challenge(*content))) {
      return LoginPiece{.kind = Kind::challenge, .raw = raw, .text = *content};
    }
    const bool is_capability = rest.empty() || sieve::take_string(rest);
    if (!may_be_listed || !is_capability || !ascii::trim(rest).empty()) return invalid(text);
    return LoginPiece{.raw = raw, .passes = true};
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
