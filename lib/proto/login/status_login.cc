// POP3 and NNTP: a status line, and after the question for the list its lines up to a dot.

#include <algorithm>
#include <array>

#include "lib/base/ascii.h"
#include "lib/proto/login/login_dialect.h"
#include "lib/proto/login/sasl_client.h"
#include "lib/proto/words.h"

namespace starttls::proto::login {
namespace {

/// True for POP3's challenge without the blank after "+" (LP6).
bool is_tight_challenge(std::string_view word) noexcept {
  return word.size() > 1 && word.starts_with('+') && word != "+OK";
}

/// Common part: the list, and the text of a status line.
class StatusReplies : public LoginReplies {
 public:
  using Kind = LoginPiece::Kind;
  using LoginReplies::LoginReplies;

  [[nodiscard]] Result<std::optional<LoginPiece>> next(std::string_view input) final {
    const auto line = next_line(input, rules());
    if (!line) return fail(line.error());
    if (!line->has_value()) return std::nullopt;
    const auto [text, raw] = **line;
    if (in_list_) {
      in_list_ = text != ".";
      if (!in_list_) return LoginPiece{.kind = Kind::success, .raw = raw};
      return LoginPiece{.raw = raw, .list_line = text};
    }
    const auto kind = kind_of_status(text);
    if (!kind) return invalid(text);
    in_list_ = *kind == Kind::part;
    LoginPiece piece{.kind = *kind, .raw = raw};
    if (*kind == Kind::part) return piece;
    const auto word = ascii::first_word(text);
    piece.text = text.substr(std::min(text.size(), word.size() + 1));
    if (is_tight_challenge(word)) piece.text = text.substr(1);
    if (*kind != Kind::challenge) piece.code = word;
    return piece;
  }

 private:
  /// Returns the kind of a status line after the current step; `part` if the list follows, nothing
  /// if it answers no command of ours.
  [[nodiscard]] virtual std::optional<Kind> kind_of_status(std::string_view line) const = 0;

  bool in_list_ = false;
};

// ---------------------------------------------------------------- POP3

class Pop3Replies final : public StatusReplies {
 public:
  using StatusReplies::StatusReplies;

 private:
  /// A server that hangs up says -ERR as well. So there is no goodbye.
  [[nodiscard]] std::optional<Kind> kind_of_status(std::string_view line) const override {
    const auto word = ascii::first_word(line);
    if (word == "-ERR") return Kind::refusal;
    if (word == "+" || is_tight_challenge(word))
      return is_in_sasl() ? std::optional(Kind::challenge) : std::nullopt;
    if (word != "+OK") return std::nullopt;
    switch (step()) {
      case LoginStep::list:
        return Kind::part;
      case LoginStep::name:
        return Kind::challenge;
      case LoginStep::sasl:
      case LoginStep::sasl_secret:
      case LoginStep::secret:
        break;
    }
    return Kind::success;
  }
};

void read_pop3_offer(std::string_view line, LoginOffer& offer) {
  const auto keyword = take_word(line);
  if (ascii::iequals(keyword, "SASL")) add_mechanisms(line, offer);
  if (ascii::iequals(keyword, "USER")) offer.native = true;
}

// ---------------------------------------------------------------- NNTP

class NntpReplies final : public StatusReplies {
 public:
  using StatusReplies::StatusReplies;

 private:
  /// RFC 4643 §2.3.1 and §2.4.1. A server may accept a name without a password.
  [[nodiscard]] std::optional<Kind> kind_of_status(std::string_view line) const override {
    const auto word = ascii::first_word(line);
    const auto code = ascii::parse_number(word);
    if (word.size() != 3 || !code) return std::nullopt;
    if (*code == 400 || *code == 205) return Kind::goodbye;
    if (*code >= 400 && *code <= 599) return Kind::refusal;
    const auto only = [&code](unsigned wanted, Kind kind) {
      return *code == wanted ? std::optional(kind) : std::nullopt;
    };
    if (step() == LoginStep::list) return only(101, Kind::part);
    if (*code == 281) return Kind::success;
    switch (step()) {
      case LoginStep::list:
      case LoginStep::secret:
        break;
      case LoginStep::name:
        return only(381, Kind::challenge);
      case LoginStep::sasl:
      case LoginStep::sasl_secret:
        return *code == 283 ? std::optional(Kind::success) : only(383, Kind::challenge);
    }
    return std::nullopt;
  }
};

void read_nntp_offer(std::string_view line, LoginOffer& offer) {
  const auto keyword = take_word(line);
  if (ascii::iequals(keyword, "SASL")) add_mechanisms(line, offer);
  if (!ascii::iequals(keyword, "AUTHINFO")) return;
  for (auto name = take_word(line); !name.empty(); name = take_word(line)) {
    offer.native = offer.native || ascii::iequals(name, "USER");
  }
}

// ---------------------------------------------------------------- name and password

std::optional<Secret> name_then_password(std::array<std::string_view, 2> commands,
                                         const Credentials& credentials, std::size_t index) {
  if (index == 0) return join({commands[0], credentials.user, "\r\n"});
  if (index == 1) return join({commands[1], credentials.secret.reveal(), "\r\n"});
  return std::nullopt;
}

}  // namespace

/// POP3 servers take no initial response, whatever RFC 5034 says (Microsoft 365).
constexpr LoginDialect kPop3{
    .list = "CAPA",
    .authenticate = "AUTH",
    .read_offer = read_pop3_offer,
    .native =
        [](const Credentials& credentials, std::string_view, std::size_t index) {
          return name_then_password({"USER ", "PASS "}, credentials, index);
        },
    .replies = [](LineRules rules) -> std::unique_ptr<LoginReplies> {
      return std::make_unique<Pop3Replies>(rules);
    }};

constexpr LoginDialect kNntp{
    .list = "CAPABILITIES",
    .authenticate = "AUTHINFO SASL",
    .empty = "=",  // RFC 4643 §2.4.2
    .read_offer = read_nntp_offer,
    .native =
        [](const Credentials& credentials, std::string_view, std::size_t index) {
          return name_then_password({"AUTHINFO USER ", "AUTHINFO PASS "}, credentials, index);
        },
    .replies = [](LineRules rules) -> std::unique_ptr<LoginReplies> {
      return std::make_unique<NntpReplies>(rules);
    }};

}  // namespace starttls::proto::login
