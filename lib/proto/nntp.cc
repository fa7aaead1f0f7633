#include <optional>
#include <string>
#include <string_view>

#include "lib/base/ascii.h"
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
          .upstream = [](const RoleSettings& settings) -> std::unique_ptr<UpstreamRole> {
            return std::make_unique<StatusUpstream>(settings, kNntp);
          },
          .downstream = make_role<DownstreamRole, NntpDownstream>};
}

}  // namespace starttls::proto
