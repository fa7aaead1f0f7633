#include <algorithm>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "lib/base/ascii.h"
#include "tools/mail_server/arguments.h"
#include "tools/mail_server/line_protocol.h"
#include "tools/mail_server/literal_protocol.h"
#include "tools/mail_server/sasl.h"

namespace starttls::bench {
namespace {

/// The script NAME is the file NAME.sieve.
constexpr std::string_view kSuffix = ".sieve";
/// The file that has the name of the active script.
constexpr std::string_view kActive = "active-script";

/// ManageSieve (RFC 5804). Scripts are stored as they are, without any check of their content.
class Sieve final : public LiteralProtocol {
 public:
  Sieve(Tls tls, const Mailbox& mailbox) noexcept : tls_(tls), mailbox_(mailbox) {}

  void greet(std::string& reply) override {
    append_capabilities(reply);
    reply += "OK \"backend.test\"\r\n";
  }
  /// Sends the list of capabilities again, unasked (RFC 5804 §2.2).
  void secured(std::string& reply) override {
    tls_ = Tls::active;
    greet(reply);
  }
  void refuse_injection(std::string& reply) const override {
    reply += "NO \"data behind STARTTLS\"\r\n";
  }

 private:
  using Arguments = std::vector<std::string>;
  enum class State : std::uint8_t { any, unauthenticated, authenticated };
  struct Command {
    std::string_view verb;
    Step (Sieve::*handler)(const Arguments& arguments, std::string& reply);
    State state;  ///< needed
    std::size_t min_arguments;
    std::size_t max_arguments;
    bool before_tls;  ///< possible while required TLS is not active yet
  };
  static const Command kCommands[];

  Step on_command(std::string_view command, std::string& reply) override;

  Verdict on_literal(std::string_view command, Literal literal, std::string& reply) override {
    // A client's literals never wait (RFC 5804 §4). So the connection cannot go on after a refusal.
    if (tls_ == Tls::required || literal.waits) {
      reply += "BYE \"no such literal here\"\r\n";
      return Verdict::close;
    }
    const auto arguments = parse_arguments(command);
    // This literal is the script, not its name: the name was a literal or a string before.
    if (!arguments || arguments->size() != 2 || sasl_) return Verdict::take;
    const bool put = ascii::iequals((*arguments)[0], "PUTSCRIPT");
    if (!put || !authenticated_) return Verdict::take;
    take_message(mailbox_.replace(file_name((*arguments)[1])));
    if (has_message()) return Verdict::take;
    reply += "BYE \"a name that cannot be kept\"\r\n";
    return Verdict::close;
  }

  void on_long_line(std::string& reply) override { reply += "BYE \"line too long\"\r\n"; }

  Step capability(const Arguments&, std::string& reply) {
    append_capabilities(reply);
    return ok(reply, "done");
  }
  void append_capabilities(std::string& reply) const {
    reply += "\"IMPLEMENTATION\" \"backend\"\r\n\"SIEVE\" \"fileinto\"\r\n";
    reply += tls_ == Tls::required ? "\"SASL\" \"\"\r\n" : "\"SASL\" \"PLAIN LOGIN\"\r\n";
    if (offers_tls(tls_) && !authenticated_) reply += "\"STARTTLS\"\r\n";
    reply += "\"VERSION\" \"1.0\"\r\n";
  }

  /// Sends the client's word back as a response code, so that the client can match replies with
  /// commands (RFC 5804 §2.13).
  Step noop(const Arguments& arguments, std::string& reply) {
    if (arguments.empty()) return ok(reply, "done");
    reply += "OK (TAG ";
    append_string(arguments[0], reply);
    reply += ") \"done\"\r\n";
    return {};
  }
  Step logout(const Arguments&, std::string& reply) {
    ok(reply, "bye");
    return {0, Want::close};
  }
  Step starttls(const Arguments&, std::string& reply) {
    if (!offers_tls(tls_)) return no(reply, "no STARTTLS here");
    ok(reply, "go ahead");
    return {0, Want::start_tls};
  }

  Step authenticate(const Arguments& arguments, std::string& reply) {
    sasl_ = Sasl::begin(arguments[0], arguments.size() == 2);
    if (!sasl_) return no(reply, "PLAIN or LOGIN");
    return go_on(reply);
  }
  Step go_on(std::string& reply) {
    if (!sasl_->finished()) {
      reply += fmt::format("\"{}\"\r\n", sasl_->challenge());
      return {};
    }
    sasl_.reset();
    authenticated_ = true;
    return ok(reply, "welcome");
  }

  Step havespace(const Arguments& arguments, std::string& reply) {
    if (!ascii::parse_number(arguments[1])) return no(reply, "HAVESPACE name bytes");
    return ok(reply, "done");
  }

  Step putscript(const Arguments& arguments, std::string& reply) {
    auto message = taken_message();
    if (!message) {  // a quoted string
      message = mailbox_.replace(file_name(arguments[0]));
      if (!message) return no(reply, "a name that cannot be kept");
      message->write(arguments[1]);
    }
    const auto stored = message->commit();
    return stored ? ok(reply, *stored) : no(reply, stored.error().reason);
  }
  Step checkscript(const Arguments&, std::string& reply) { return ok(reply, "not looked at"); }

  Step listscripts(const Arguments&, std::string& reply) {
    const auto active = mailbox_.read(kActive).value_or("");
    for (const auto& file : mailbox_.list(kSuffix)) {
      const std::string name = file.name.substr(0, file.name.size() - kSuffix.size());
      append_string(name, reply);
      reply += name == active ? " ACTIVE\r\n" : "\r\n";
    }
    return ok(reply, "done");
  }

  Step getscript(const Arguments& arguments, std::string& reply) {
    const auto content = mailbox_.read(file_name(arguments[0]));
    if (!content) return nonexistent(reply);
    append_string(*content, reply);
    reply += "\r\n";
    return ok(reply, "done");
  }

  /// Makes a script active; "" makes none active (RFC 5804 §2.8).
  Step setactive(const Arguments& arguments, std::string& reply) {
    if (arguments[0].empty()) {
      static_cast<void>(mailbox_.remove(kActive));  // there may have been none
      return ok(reply, "none");
    }
    if (!mailbox_.read(file_name(arguments[0]))) return nonexistent(reply);
    const auto active = mailbox_.replace(kActive);
    active->write(arguments[0]);
    const auto stored = active->commit();
    return stored ? ok(reply, "done") : no(reply, stored.error().reason);
  }

  Step deletescript(const Arguments& arguments, std::string& reply) {
    if (mailbox_.read(kActive).value_or("") == arguments[0]) {
      reply += "NO (ACTIVE) \"it is active\"\r\n";
      return {};
    }
    return mailbox_.remove(file_name(arguments[0])) ? ok(reply, "done") : nonexistent(reply);
  }

  Step xsend(const Arguments& arguments, std::string& reply) {
    const auto bytes = ascii::parse_number(arguments[0]);
    if (!bytes) return no(reply, "XSEND bytes");
    ok(reply, fmt::format("{} bytes follow", *bytes));
    return {0, Want::send_pattern, *bytes};
  }

  static std::string file_name(std::string_view script) {
    return std::string(script).append(kSuffix);
  }

  /// Appends a literal. A quoted string cannot hold CRLF and has a short limit (RFC 5804 §4).
  static void append_string(std::string_view text, std::string& reply) {
    reply += fmt::format("{{{}}}\r\n", text.size()).append(text);
  }

  static Step nonexistent(std::string& reply) {
    reply += "NO (NONEXISTENT) \"no such script\"\r\n";
    return {};
  }
  static Step ok(std::string& reply, std::string_view text) {
    reply += fmt::format("OK \"{}\"\r\n", text);
    return {};
  }
  static Step no(std::string& reply, std::string_view text) {
    reply += fmt::format("NO \"{}\"\r\n", text);
    return {};
  }

  Tls tls_;
  const Mailbox& mailbox_;
  bool authenticated_ = false;
  std::optional<Sasl> sasl_;
};

constexpr Sieve::Command Sieve::kCommands[] = {
    {"CAPABILITY", &Sieve::capability, State::any, 0, 0, true},
    {"NOOP", &Sieve::noop, State::any, 0, 1, true},
    {"LOGOUT", &Sieve::logout, State::any, 0, 0, true},
    {"STARTTLS", &Sieve::starttls, State::unauthenticated, 0, 0, true},
    {"AUTHENTICATE", &Sieve::authenticate, State::unauthenticated, 1, 2, false},
    {"HAVESPACE", &Sieve::havespace, State::authenticated, 2, 2, false},
    {"PUTSCRIPT", &Sieve::putscript, State::authenticated, 2, 2, false},
    {"CHECKSCRIPT", &Sieve::checkscript, State::authenticated, 1, 1, false},
    {"LISTSCRIPTS", &Sieve::listscripts, State::authenticated, 0, 0, false},
    {"GETSCRIPT", &Sieve::getscript, State::authenticated, 1, 1, false},
    {"SETACTIVE", &Sieve::setactive, State::authenticated, 1, 1, false},
    {"DELETESCRIPT", &Sieve::deletescript, State::authenticated, 1, 1, false},
    {"XSEND", &Sieve::xsend, State::authenticated, 1, 1, false},
};

Step Sieve::on_command(std::string_view command, std::string& reply) {
  auto arguments = parse_arguments(command);
  if (!arguments) return no(reply, "a quote or a parenthesis is missing");
  if (sasl_) {
    if (arguments->size() != 1 || (*arguments)[0] == "*") {
      sasl_.reset();
      return no(reply, "cancelled");
    }
    sasl_->answer();
    return go_on(reply);
  }
  if (arguments->empty()) return no(reply, "a command is missing");
  const auto* const found = find_command(kCommands, (*arguments)[0]);
  if (found == nullptr) return no(reply, "unknown command");
  if (tls_ == Tls::required && !found->before_tls) {
    reply += "NO (ENCRYPT-NEEDED) \"STARTTLS first\"\r\n";
    return {};
  }
  if (found->state == State::unauthenticated && authenticated_) {
    return no(reply, "logged in already");
  }
  if (found->state == State::authenticated && !authenticated_) return no(reply, "log in first");
  arguments->erase(arguments->begin());
  if (arguments->size() < found->min_arguments || arguments->size() > found->max_arguments) {
    return no(reply, "too few or too many arguments");
  }
  return (this->*found->handler)(*arguments, reply);
}

}  // namespace

std::unique_ptr<Protocol> make_sieve(Tls tls, const Mailbox& mailbox) {
  return std::make_unique<Sieve>(tls, mailbox);
}

}  // namespace starttls::bench
