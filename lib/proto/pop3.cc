#include <algorithm>
#include <optional>
#include <string>
#include <string_view>

#include "lib/base/ascii.h"
#include "lib/proto/login/line_login.h"
#include "lib/proto/login/login_dialect.h"
#include "lib/proto/parts.h"
#include "lib/proto/status_line.h"

namespace starttls::proto {
namespace {

/// Reads "+OK" or "-ERR". They are upper case, and a space or the end of the line follows them (RFC
/// 1939 §3). A longer word that begins with one is neither (N10).
std::optional<Status> read_indicator(std::string_view line) {
  const auto word = ascii::first_word(line);
  if (word != "+OK" && word != "-ERR") return std::nullopt;
  const auto text = line.size() > word.size() ? line.substr(word.size() + 1) : std::string_view{};
  const bool refusal = word == "-ERR";
  return Status{word, text, refusal, refusal};
}

constexpr std::string_view kPositive[] = {"+OK"};

constexpr StatusDialect kPop3{
    .service = "POP3",
    .starttls =
        {
            .command = "STLS",
            .go_ahead = "+OK Begin TLS negotiation\r\n",
            .injected = "-ERR STLS must be the last command\r\n",
            .unavailable = "-ERR STLS is not available\r\n",
            .already_active = "-ERR Command not permitted when TLS active\r\n",
            .has_argument = "-ERR STLS takes no argument\r\n",
        },
    .read_status = read_indicator,
    // The text keeps its APOP stamp: without it an old client would send its password in the clear
    // on its own leg.
    .welcomes = kPositive,
    .tls_status = "+OK",
    .closing = {},  // a server that closes sends the same -ERR as one that stays
    .lists = kPositive,
    .login =
        {
            .dialect = login::kPop3,
            .challenge = "+ ",
            .challenge_end = "\r\n",
            .empty_challenge = "+ \r\n",
            .success = "+OK Logged in\r\n",
            .refusal = "-ERR [AUTH] Authentication failed\r\n",
            .unavailable = "-ERR [SYS/TEMP] ",
            .text_end = "\r\n",
            .cancelled = "-ERR Authentication cancelled\r\n",
            .malformed = "-ERR Invalid authentication exchange\r\n",
            .hidden = "-ERR Mechanism not available\r\n",
            .required = "-ERR Log in first\r\n",
        },
    .login_capability = "USER",
    .login_lines = "USER\r\nSASL PLAIN LOGIN\r\n",
};

/// Returns a greeting without its APOP stamp, "<...>" (RFC 1939 §7). A client that sees one sends
/// a digest of its password, with which no other login is possible.
std::string without_stamp(std::string_view greeting) {
  std::string kept;
  while (true) {
    const auto begin = greeting.find('<');
    const auto end = greeting.find('>', std::min(begin, greeting.size()));
    if (end == std::string_view::npos) break;
    kept += greeting.substr(0, begin);
    greeting.remove_prefix(end + 1);
  }
  return kept += greeting;
}

class Pop3Downstream final : public StatusDownstream {
  using Kind = Action::Kind;

 public:
  explicit Pop3Downstream(const RoleSettings& settings) : StatusDownstream(settings, kPop3) {}

 private:
  [[nodiscard]] Result<> greet(std::string_view greeting, std::string& to_client) override {
    if (login() == nullptr) return StatusDownstream::greet(greeting, to_client);
    return StatusDownstream::greet(without_stamp(greeting), to_client);
  }

  [[nodiscard]] bool logs_in(std::string_view verb) const noexcept override {
    return is_any_of(verb, {"USER", "PASS", "AUTH"});
  }

  [[nodiscard]] Action on_command_before_login(const Command& command) override {
    if (ascii::iequals(command.verb, "CAPA")) return {Kind::edit};
    if (is_any_of(command.verb, {"NOOP", "QUIT"})) return {Kind::pass};
    if (ascii::iequals(command.verb, "USER")) {
      return login()->take_name(command.arguments, "+OK Send the password\r\n");
    }
    if (ascii::iequals(command.verb, "PASS")) {
      return login()->take_password(command.arguments, "-ERR Send USER first\r\n");
    }
    if (ascii::iequals(command.verb, "AUTH")) return on_auth(command.arguments);
    const bool is_apop = ascii::iequals(command.verb, "APOP");
    return login()->refuse(is_apop ? login()->words().hidden : login()->words().required);
  }

  /// Begins a login, or lists the mechanisms (D3).
  [[nodiscard]] Action on_auth(std::string_view arguments) {
    const auto mechanism = take_word(arguments);
    const auto response = take_word(arguments);
    if (mechanism.empty()) return {Kind::answer, "+OK\r\nPLAIN\r\nLOGIN\r\n.\r\n"};
    if (!take_word(arguments).empty()) return login()->refuse(login()->words().malformed);
    return login()->start_sasl(mechanism,
                               response.empty() ? std::nullopt : std::optional{response});
  }

  [[nodiscard]] Action on_command(const Command& command) override {
    auto rest = command.arguments;
    if (ascii::iequals(command.verb, "CAPA")) return {Kind::edit};
    if (is_any_of(command.verb, {"NOOP", "QUIT", "HELP"})) return {Kind::pass};
    if (ascii::iequals(command.verb, "UTF8")) {
      utf8_ = true;
      return {Kind::pass};
    }
    // Without an argument it asks for the list of languages (RFC 6856 §3.2).
    if (ascii::iequals(command.verb, "LANG")) {
      return {take_word(rest).empty() ? Kind::list : Kind::pass};
    }
    // A server that trusts our address would believe the client's claims about itself (Dovecot).
    if (is_any_of(command.verb, {"XCLIENT", "XFORWARD"})) {
      return {Kind::refuse, "-ERR Command not allowed\r\n"};
    }
    if (ascii::iequals(command.verb, "AUTH")) {
      const auto mechanism = take_word(rest);
      // Without an argument it asks for a list of mechanisms (not in RFC 1734, but servers answer
      // so), D3.
      if (mechanism.empty()) return {Kind::mechanisms};
      if (bars_external() && ascii::iequals(mechanism, "EXTERNAL")) {
        return {Kind::refuse, "-ERR Mechanism not available\r\n"};
      }
    }
    return {Kind::commit};
  }

  [[nodiscard]] Action on_command_before_tls(const Command& command) override {
    if (ascii::iequals(command.verb, "CAPA")) {
      return {Kind::answer, "+OK Capability list follows\r\nSTLS\r\n.\r\n"};
    }
    if (ascii::iequals(command.verb, "NOOP")) return {Kind::answer, "+OK\r\n"};
    if (ascii::iequals(command.verb, "QUIT")) return {Kind::finish, "+OK Goodbye\r\n"};
    return {Kind::refuse, "-ERR Must issue STLS first\r\n"};
  }

  /// Refuses STLS after UTF8 (RFC 6856 §2). The server would keep UTF-8 mode over the client's TLS,
  /// and an attacker may have asked for it in the clear.
  [[nodiscard]] std::string_view starttls_objection() const noexcept override {
    return utf8_ ? "-ERR STLS is not permitted after UTF8\r\n" : std::string_view{};
  }

  bool utf8_ = false;
};

// RFC 3206: the failure is temporary and no fault of the user's, so a client does not ask for
// another password.
constexpr std::string_view kPop3Failure = "-ERR [SYS/TEMP] ";
constexpr Parts::Words kPop3Words{
    .unavailable = kPop3Failure,
    .refused = kPop3Failure,
    .policy = kPop3Failure,
    .certificate = kPop3Failure,
    .client_protocol = "-ERR ",
};

}  // namespace

Parts parts::pop3() {
  return {.words = kPop3Words,
          .capabilities = {.command = "CAPA", .goodbye = "QUIT", .complete = is_whole_pop3_list},
          .login = &login::kPop3,
          .upstream = [](const RoleSettings& settings) -> std::unique_ptr<UpstreamRole> {
            return std::make_unique<StatusUpstream>(settings, kPop3);
          },
          .downstream = make_role<DownstreamRole, Pop3Downstream>};
}

}  // namespace starttls::proto
