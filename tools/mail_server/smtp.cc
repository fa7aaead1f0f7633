#include <optional>

#include <fmt/format.h>

#include "lib/base/ascii.h"
#include "tools/mail_server/dot_reader.h"
#include "tools/mail_server/line_protocol.h"
#include "tools/mail_server/sasl.h"

namespace starttls::bench {
namespace {

/// The limit of recipients per message. RFC 5321 §4.5.3.1.8 asks for 100 at least.
constexpr std::size_t kMaxRecipients = 1000;

/// SMTP (RFC 5321) and LMTP (RFC 2033). Accepts mail from every sender for every recipient, with
/// and without a login (RFC 4954).
class Smtp final : public LineProtocol {
 public:
  enum class Dialect : std::uint8_t { smtp, lmtp };

  Smtp(Dialect dialect, Tls tls, const Mailbox& mailbox) noexcept
      : dialect_(dialect), tls_(tls), mailbox_(mailbox) {}

  void greet(std::string& reply) override {
    reply += lmtp() ? "220 backend.test LMTP\r\n" : "220 backend.test ESMTP\r\n";
  }

  void secured(std::string&) override {
    tls_ = Tls::active;
    greeted_ = false;
    reset();
  }

  void refuse_injection(std::string& reply) const override {
    reply += "503 5.5.1 data behind STARTTLS\r\n";
  }

 private:
  using Handler = Step (Smtp::*)(std::string_view arguments, std::string& reply);
  struct Command {
    std::string_view verb;
    Handler handler;
    bool before_tls;  ///< possible while required TLS is not active yet (RFC 3207 §4)
  };
  static const Command kCommands[];

  Step on_line(std::string_view line, std::string& reply) override;
  void on_long_line(std::string& reply) override { reply += "500 5.5.2 line too long\r\n"; }

  /// A message that is being received.
  struct Data {
    DotReader reader;
    std::unique_ptr<Message> message;
  };

  Step ehlo(std::string_view name, std::string& reply) {
    if (lmtp()) return answer(reply, "500 5.5.1 this is LMTP: say LHLO\r\n");
    return hello(name, reply);
  }
  Step lhlo(std::string_view name, std::string& reply) {
    if (!lmtp()) return answer(reply, "500 5.5.1 this is SMTP: say EHLO\r\n");
    return hello(name, reply);
  }
  Step hello(std::string_view name, std::string& reply) {
    if (name.empty()) return answer(reply, "501 5.5.4 a name is missing\r\n");
    greeted_ = true;
    reset();
    reply += "250-backend.test\r\n250-PIPELINING\r\n250-8BITMIME\r\n";
    if (offers_tls(tls_)) reply += "250-STARTTLS\r\n";
    if (tls_ != Tls::required) reply += "250-AUTH PLAIN LOGIN\r\n";
    return answer(reply, "250 SIZE 0\r\n");  // no limit (RFC 1870 §4)
  }
  Step helo(std::string_view name, std::string& reply) {
    if (lmtp()) return answer(reply, "500 5.5.1 this is LMTP: say LHLO\r\n");
    if (name.empty()) return answer(reply, "501 5.5.4 a name is missing\r\n");
    greeted_ = true;
    reset();
    return answer(reply, "250 backend.test\r\n");
  }

  Step starttls(std::string_view arguments, std::string& reply) {
    if (!offers_tls(tls_)) return answer(reply, "503 5.5.1 no STARTTLS here\r\n");
    if (!arguments.empty()) return answer(reply, "501 5.5.4 no parameters allowed\r\n");
    reply += "220 2.0.0 go ahead\r\n";
    return {0, Want::start_tls};
  }

  Step auth(std::string_view arguments, std::string& reply) {
    if (!greeted_ || has_sender_) return answer(reply, "503 5.5.1 wrong order\r\n");
    sasl_ = Sasl::begin(ascii::first_word(arguments), !ascii::after_first_word(arguments).empty());
    if (!sasl_) return answer(reply, "504 5.5.4 PLAIN or LOGIN\r\n");
    return go_on(reply);
  }
  Step go_on(std::string& reply) {
    if (!sasl_->finished()) {
      reply += fmt::format("334 {}\r\n", sasl_->challenge());
      return {};
    }
    sasl_.reset();
    return answer(reply, "235 2.7.0 welcome\r\n");
  }

  Step mail(std::string_view arguments, std::string& reply) {
    if (!greeted_ || has_sender_) return answer(reply, "503 5.5.1 wrong order\r\n");
    if (!is_path("FROM:", arguments)) return answer(reply, "501 5.5.4 MAIL FROM:<address>\r\n");
    has_sender_ = true;
    return answer(reply, "250 2.1.0 sender ok\r\n");
  }

  Step rcpt(std::string_view arguments, std::string& reply) {
    if (!has_sender_) return answer(reply, "503 5.5.1 MAIL first\r\n");
    if (!is_path("TO:", arguments)) return answer(reply, "501 5.5.4 RCPT TO:<address>\r\n");
    if (recipients_ == kMaxRecipients) return answer(reply, "452 4.5.3 too many recipients\r\n");
    ++recipients_;
    return answer(reply, "250 2.1.5 recipient ok\r\n");
  }

  Step data(std::string_view, std::string& reply) {
    if (recipients_ == 0) return answer(reply, "503 5.5.1 RCPT first\r\n");
    data_.emplace(Data{{}, mailbox_.begin()});
    return answer(reply, "354 go ahead\r\n");
  }

  std::optional<std::size_t> take_data(std::string_view input, std::string& reply) override {
    if (!data_) return std::nullopt;
    Message& message = *data_->message;
    const std::size_t taken =
        data_->reader.take(input, [&message](std::string_view content) { message.write(content); });
    if (data_->reader.finished()) {
      const auto stored = message.commit();
      const std::string answer = stored ? "250 2.0.0 ok: " + *stored + "\r\n"
                                        : "452 4.3.1 " + stored.error().reason + "\r\n";
      // LMTP answers for each recipient (RFC 2033 §4.2).
      for (std::size_t i = lmtp() ? recipients_ : 1; i > 0; --i) reply += answer;
      data_.reset();
      reset();
    }
    return taken;
  }

  Step rset(std::string_view, std::string& reply) {
    reset();
    return answer(reply, "250 2.0.0 ok\r\n");
  }
  Step noop(std::string_view, std::string& reply) { return answer(reply, "250 2.0.0 ok\r\n"); }
  Step quit(std::string_view, std::string& reply) {
    reply += "221 2.0.0 bye\r\n";
    return {0, Want::close};
  }

  Step xsend(std::string_view arguments, std::string& reply) {
    const auto bytes = ascii::parse_number(arguments);
    if (!greeted_) return answer(reply, "503 5.5.1 EHLO first\r\n");
    if (!bytes) return answer(reply, "501 5.5.4 XSEND bytes\r\n");
    reply += fmt::format("250 2.0.0 {} bytes follow\r\n", *bytes);
    return {0, Want::send_pattern, *bytes};
  }

  static Step answer(std::string& reply, std::string_view line) {
    reply += line;
    return {};
  }
  static bool is_path(std::string_view keyword, std::string_view arguments) noexcept {
    if (!ascii::istarts_with(arguments, keyword)) return false;
    const auto path = ascii::trim(arguments.substr(keyword.size()));
    return path.starts_with('<') && path.find('>') != std::string_view::npos;
  }
  void reset() noexcept {
    has_sender_ = false;
    recipients_ = 0;
  }
  [[nodiscard]] bool lmtp() const noexcept { return dialect_ == Dialect::lmtp; }

  Dialect dialect_;
  Tls tls_;
  const Mailbox& mailbox_;
  bool greeted_ = false;
  bool has_sender_ = false;
  std::size_t recipients_ = 0;
  std::optional<Data> data_;
  std::optional<Sasl> sasl_;
};

constexpr Smtp::Command Smtp::kCommands[] = {
    {"EHLO", &Smtp::ehlo, true},  {"HELO", &Smtp::helo, true},
    {"LHLO", &Smtp::lhlo, true},  {"STARTTLS", &Smtp::starttls, true},
    {"NOOP", &Smtp::noop, true},  {"RSET", &Smtp::rset, true},
    {"QUIT", &Smtp::quit, true},  {"AUTH", &Smtp::auth, false},
    {"MAIL", &Smtp::mail, false}, {"RCPT", &Smtp::rcpt, false},
    {"DATA", &Smtp::data, false}, {"XSEND", &Smtp::xsend, false},
    {"VRFY", &Smtp::noop, false},
};

Step Smtp::on_line(std::string_view line, std::string& reply) {
  if (sasl_) {
    if (line == "*") {
      sasl_.reset();
      return answer(reply, "501 5.7.0 cancelled\r\n");
    }
    sasl_->answer();
    return go_on(reply);
  }
  const auto* const found = find_command(kCommands, ascii::first_word(line));
  if (found == nullptr) return answer(reply, "500 5.5.1 unknown command\r\n");
  if (tls_ == Tls::required && !found->before_tls) {
    return answer(reply, "530 5.7.0 STARTTLS first\r\n");
  }
  return (this->*found->handler)(ascii::after_first_word(line), reply);
}

}  // namespace

std::unique_ptr<Protocol> make_smtp(Tls tls, const Mailbox& mailbox) {
  return std::make_unique<Smtp>(Smtp::Dialect::smtp, tls, mailbox);
}

std::unique_ptr<Protocol> make_lmtp(Tls tls, const Mailbox& mailbox) {
  return std::make_unique<Smtp>(Smtp::Dialect::lmtp, tls, mailbox);
}

}  // namespace starttls::bench
