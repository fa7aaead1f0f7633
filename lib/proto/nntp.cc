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

/// Reads three digits of which the first is 1 to 5, then a space or the end of the line (RFC 3977
/// §3.2).
std::optional<Status> read_code(std::string_view line) {
  const auto word = ascii::first_word(line);
  const auto code = ascii::parse_number(word);
  if (word.size() != 3 || !code) return std::nullopt;
  if (word.front() < '1' || word.front() > '5') return std::nullopt;
  const auto text = line.size() > word.size() ? line.substr(word.size() + 1) : std::string_view{};
  return Status{word, text, word.front() >= '4', refuses_command(*code)};
}

constexpr std::string_view kMayPost = "200";
constexpr std::string_view kWelcomes[] = {kMayPost, "201"};
constexpr std::string_view kClosing[] = {"205", "400"};
constexpr std::string_view kLists[] = {"100", "101"};  // HELP, CAPABILITIES

constexpr StatusDialect kNntp{
    .service = "NNTP",
    .starttls =
        {
            .command = "STARTTLS",
            .go_ahead = "382 Continue with TLS negotiation\r\n",
            .injected = "502 STARTTLS must be the last command\r\n",
            .unavailable = "502 STARTTLS is not available\r\n",
            .already_active = "502 TLS is already active\r\n",
            .has_argument = "501 STARTTLS takes no argument\r\n",
        },
    .read_status = read_code,
    .welcomes = kWelcomes,
    .tls_status = "382",
    .closing = kClosing,
    .lists = kLists,
    // RFC 4643 §2.3, §2.4.
    .login =
        {
            .dialect = login::kNntp,
            .challenge = "383 ",
            .challenge_end = "\r\n",
            .empty_challenge = "383 =\r\n",
            .success = "281 Authentication accepted\r\n",
            .refusal = "481 Authentication failed\r\n",
            .unavailable = "403 ",
            .text_end = "\r\n",
            .cancelled = "481 Authentication cancelled\r\n",
            .malformed = "501 Invalid authentication exchange\r\n",
            .hidden = "503 Mechanism not available\r\n",
            .required = "480 Authentication required\r\n",
        },
    .login_capability = "AUTHINFO",
    .login_lines = "AUTHINFO USER SASL\r\nSASL PLAIN\r\n",
};

bool is_mode_reader(const Command& command) noexcept {
  auto rest = command.arguments;
  return ascii::iequals(command.verb, "MODE") && ascii::iequals(take_word(rest), "READER");
}

class NntpDownstream final : public StatusDownstream {
  using Kind = Action::Kind;

 public:
  explicit NntpDownstream(const RoleSettings& settings) : StatusDownstream(settings, kNntp) {}

 private:
  [[nodiscard]] Result<> greet(std::string_view greeting, std::string& to_client) override {
    may_post_ = greeting.starts_with(kMayPost);
    return StatusDownstream::greet(greeting, to_client);
  }
  [[nodiscard]] bool logs_in(std::string_view verb) const noexcept override {
    return ascii::iequals(verb, "AUTHINFO");
  }

  [[nodiscard]] Action on_command_before_login(const Command& command) override {
    if (ascii::iequals(command.verb, "CAPABILITIES")) return {Kind::edit};
    if (ascii::iequals(command.verb, "HELP")) return {Kind::list};
    if (is_any_of(command.verb, {"DATE", "QUIT"})) return {Kind::pass};
    if (is_mode_reader(command)) return {.kind = Kind::pass, .is_repeated = true};
    if (ascii::iequals(command.verb, "AUTHINFO")) return on_authinfo(command.arguments);
    return login()->refuse(login()->words().required);
  }

  [[nodiscard]] Action on_authinfo(std::string_view arguments) {
    const auto kind = take_word(arguments);
    if (ascii::iequals(kind, "USER")) {
      return login()->take_name(arguments, "381 Password required\r\n");
    }
    if (ascii::iequals(kind, "PASS")) {
      return login()->take_password(arguments, "482 Send AUTHINFO USER first\r\n");
    }
    if (!kind.empty() && !ascii::iequals(kind, "SASL")) {
      return login()->refuse(login()->words().required);
    }
    const auto mechanism = take_word(arguments);
    const auto response = take_word(arguments);
    if (mechanism.empty() || !take_word(arguments).empty()) {
      return login()->refuse(login()->words().malformed);
    }
    if (!ascii::iequals(mechanism, "PLAIN")) return login()->refuse(login()->words().hidden);
    return login()->start_sasl(mechanism,
                               response.empty() ? std::nullopt : std::optional{response});
  }

  [[nodiscard]] Action on_command(const Command& command) override {
    auto rest = command.arguments;
    if (ascii::iequals(command.verb, "CAPABILITIES")) return {Kind::edit};
    if (ascii::iequals(command.verb, "HELP")) return {Kind::list};
    if (is_any_of(command.verb, {"DATE", "QUIT"}) || is_mode_reader(command)) return {Kind::pass};
    if (is_any_of(command.verb, {"XCLIENT", "XFORWARD"})) {
      return {Kind::refuse, "502 Command not allowed\r\n"};
    }
    if (bars_external() && ascii::iequals(command.verb, "AUTHINFO") &&
        ascii::iequals(take_word(rest), "SASL") && ascii::iequals(take_word(rest), "EXTERNAL")) {
      return {Kind::refuse, "503 Mechanism not available\r\n"};
    }
    return {Kind::commit};
  }

  [[nodiscard]] Action on_command_before_tls(const Command& command) override {
    if (ascii::iequals(command.verb, "CAPABILITIES")) {
      // VERSION comes first (RFC 3977 §3.3.2). No READER: its commands are refused here.
      return {Kind::answer, "101 Capability list follows\r\nVERSION 2\r\nSTARTTLS\r\n.\r\n"};
    }
    if (is_mode_reader(command)) {
      return {Kind::answer, may_post_ ? "200 Posting allowed\r\n" : "201 Posting prohibited\r\n"};
    }
    if (ascii::iequals(command.verb, "QUIT")) return {Kind::finish, "205 Goodbye\r\n"};
    return {Kind::refuse, "483 Must issue STARTTLS first\r\n"};
  }

  bool may_post_ = false;  ///< from the greeting
};

// RFC 3977 §3.2.1: 400 service not or no longer available, 501 syntax error.
constexpr std::string_view kNntpFailure = "400 ";
constexpr Parts::Words kNntpWords{
    .unavailable = kNntpFailure,
    .refused = kNntpFailure,
    .policy = kNntpFailure,
    .certificate = kNntpFailure,
    .client_protocol = "501 ",
    .server = "news server",
};

}  // namespace

Parts parts::nntp() {
  return {.words = kNntpWords,
          .capabilities = {.command = "CAPABILITIES",
                           .goodbye = "QUIT",
                           .complete = is_whole_nntp_list},
          .login = &login::kNntp,
          .upstream = [](const RoleSettings& settings) -> std::unique_ptr<UpstreamRole> {
            return std::make_unique<StatusUpstream>(settings, kNntp);
          },
          .downstream = make_role<DownstreamRole, NntpDownstream>};
}

}  // namespace starttls::proto
