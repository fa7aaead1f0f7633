#include <algorithm>

#include "lib/base/ascii.h"
#include "lib/proto/login/login_dialect.h"
#include "lib/proto/smtp_replies.h"
#include "lib/proto/words.h"

namespace starttls::proto::login {
namespace {

/// The longest line with an initial response, its end included (RFC 4954 §4). Servers refuse longer
/// ones, though a response of its own may have 12288 bytes.
constexpr std::size_t kMaxInline = 512;

constexpr unsigned kListed = 250;
constexpr unsigned kChallenge = 334;
constexpr unsigned kWelcome = 235;

/// The replies to EHLO and to AUTH, of one line or more.
class SmtpReplies final : public LoginReplies {
  using Kind = LoginPiece::Kind;

 public:
  using LoginReplies::LoginReplies;

  [[nodiscard]] Result<std::optional<LoginPiece>> next(std::string_view input) override {
    const auto line = next_line(input, rules());
    if (!line) return fail(line.error());
    if (!line->has_value()) return std::nullopt;
    if (is_tight_challenge((*line)->text)) {
      return LoginPiece{.kind = Kind::challenge,
                        .raw = (*line)->raw,
                        .text = std::string((*line)->text.substr(kCodeSize))};
    }
    const auto reply = reader_.add(**line);
    if (!reply) return fail(reply.error());
    words_.add(**line, *reply);

    LoginPiece piece{.raw = (*line)->raw};
    // The first line of a list is the server's name, even if it looks like an extension.
    if (reply->code == kListed && !reply->first) piece.list_line = reply->text;
    if (!reply->last) return piece;
    const auto kind = kind_of_code(reply->code);
    if (!kind) return invalid((*line)->text);
    piece.kind = *kind;
    if (*kind == Kind::challenge) {
      piece.text = reply->text;
    } else {
      const auto words = words_.view();
      piece.code = words.substr(0, words.find(' '));
      piece.text = words.substr(std::min(words.size(), piece.code.size() + 1));
    }
    return piece;
  }

 private:
  static constexpr std::size_t kCodeSize = 3;

  /// True for a challenge without the blank after its code: "334VXNlcm5hbWU6" (LP6).
  [[nodiscard]] bool is_tight_challenge(std::string_view line) const noexcept {
    return is_in_sasl() && line.starts_with("334") && line.size() > kCodeSize &&
           line[kCodeSize] != ' ' && line[kCodeSize] != '-';
  }

  /// Returns nothing for a code that answers no command of ours. Only 235 is a success (RFC 4954
  /// §4).
  [[nodiscard]] std::optional<Kind> kind_of_code(unsigned code) const noexcept {
    if (smtp::closes(code)) return Kind::goodbye;
    if (smtp::is_refusal(code)) return Kind::refusal;
    if (step() == LoginStep::list)
      return code == kListed ? std::optional(Kind::success) : std::nullopt;
    if (code == kChallenge) return Kind::challenge;
    if (code == kWelcome) return Kind::success;
    return std::nullopt;
  }

  smtp::ReplyReader reader_;
  smtp::ReplyWords words_;
};

/// Reads "AUTH PLAIN LOGIN", and "AUTH=PLAIN LOGIN" of servers older than RFC 2554.
void read_smtp_offer(std::string_view line, LoginOffer& offer) {
  auto rest = line;
  const auto keyword = take_word(rest);
  if (!ascii::iequals(keyword.substr(0, keyword.find('=')), "AUTH")) return;
  const auto verb = line.find(keyword) + std::string_view("AUTH").size();
  add_mechanisms(line.substr(std::min(line.size(), verb + 1)), offer);
}

constexpr LoginDialect smtp_dialect(std::string_view hello) {
  return {.list = hello,
          .introduces_us = true,
          .authenticate = "AUTH",
          .max_inline = kMaxInline,
          .read_offer = read_smtp_offer,
          .replies = [](LineRules rules) -> std::unique_ptr<LoginReplies> {
            return std::make_unique<SmtpReplies>(rules);
          }};
}

}  // namespace

constexpr LoginDialect kSmtp = smtp_dialect("EHLO");
constexpr LoginDialect kLmtp = smtp_dialect("LHLO");

}  // namespace starttls::proto::login
