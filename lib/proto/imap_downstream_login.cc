// The client's login of ImapDownstream.

#include <utility>

#include "lib/base/ascii.h"
#include "lib/proto/imap_downstream.h"
#include "lib/proto/words.h"

namespace starttls::proto {

using namespace imap;

/// Returns the rules of the line that `input` begins with.
LineRules ImapDownstream::rules(std::string_view input) const noexcept {
  if (!login_ || state_ != State::commands) return kClientRules;
  if (awaits_response()) return kResponseRules;
  // Read only as far as other lines may go: the limit must not depend on how a line is cut.
  const auto head = input.substr(0, kMaxLine);
  const Command command({.text = head, .raw = head});
  return is_any_of(command.verb, {"LOGIN", "AUTHENTICATE"}) ? kLoginRules : kClientRules;
}

/// True for a LOGIN to the proxy, which is read with its literals.
bool ImapDownstream::is_login(const Command& command) const noexcept {
  return login_ && state_ == State::commands && !refusal_ && is_tag(command.tag) &&
         ascii::iequals(command.verb, "LOGIN");
}

/// Passes only commands that need no login. ID and LOGIN are not among these: they have literals.
Result<Verdict> ImapDownstream::on_command_before_login(const Command& command,
                                                        std::string& to_client,
                                                        std::string& to_server) {
  if (ascii::iequals(command.verb, "STARTTLS")) return on_starttls(command, to_client);
  if (ascii::iequals(command.verb, "AUTHENTICATE")) {
    return on_login_step(login_->authenticate(command.tag, command.arguments), command.text,
                         to_client);
  }
  const bool is_bare = ascii::trim(command.arguments).empty();
  if (is_bare && is_any_of(command.verb, {"CAPABILITY", "NOOP", "LOGOUT"})) {
    return pass(command.tag, command.raw, to_server);
  }
  return refuse(command.text, std::string(command.tag) + " NO Log in first\r\n", to_client);
}

/// Reads the LOGIN that `input` begins with. Returns the bytes it has, or 0 if it is incomplete:
/// then it is read again with the next bytes.
Result<std::size_t> ImapDownstream::on_login(std::string_view input, const Command& command,
                                             std::string& to_client) {
  const auto head = static_cast<std::size_t>(command.arguments.data() - input.data());
  auto rules = kLoginRules;
  rules.limit -= head;
  auto login = read_login(input.substr(head), rules);
  count_literals(login.continuations, to_client);
  if (!login.state) return fail(login.state.error());
  if (*login.state == LoginCommand::State::incomplete) return 0;
  const auto size = head + login.size;
  if (*login.state == LoginCommand::State::whole) {
    continuations_seen_ = 0;
    login_->log_in(command.tag, std::move(login));
    state_ = State::login;
    return size;
  }
  ask_late(to_client);
  const auto refused =
      refuse(login.last_line, std::string(command.tag) + " BAD Invalid LOGIN\r\n", to_client);
  if (!refused) return fail(refused.error());
  return size;
}

/// Does the next step of an AUTHENTICATE. `text` is its command; empty: a response.
Result<Verdict> ImapDownstream::on_login_step(const ClientLoginCommands::Next& next,
                                              std::string_view text, std::string& to_client) {
  using Kind = ClientLoginCommands::Next::Kind;
  switch (next.kind) {
    case Kind::challenge:
      challenges_ += next.words;
      ask_for_literals(to_client);
      return Verdict::need_more;
    case Kind::complete:
      state_ = State::login;
      return begin_login(to_client);
    case Kind::refuse:
      break;
  }
  ask_late(to_client);
  return refuse(text, std::string(login_->tag()) + ' ' + next.words + "\r\n", to_client);
}

/// Begins the login, if the replies to all earlier commands have passed.
Verdict ImapDownstream::begin_login(std::string& to_client) {
  if (!all_answered()) return Verdict::need_more;
  ask_for_literals(to_client);
  return login_->gate().begin();
}

/// Offers the server's input to the login, if that reads it.
Result<Step> ImapDownstream::login_from_server(std::string_view input, std::string& to_client,
                                               std::string& to_server) {
  if (!login_->gate().reads_server()) return Step{};
  auto step = login_->gate().from_server(input, to_client, to_server);
  if (!step) return step;
  const auto verdict = after_login_step(step->verdict);
  if (!verdict) return fail(verdict.error());
  return step;
}

/// Lets the client go on if its login has ended without a success.
Result<Verdict> ImapDownstream::after_login_step(Result<Verdict> verdict) {
  if (!login_->gate().is_under_way()) state_ = State::commands;
  if (verdict && *verdict == Verdict::relay) state_ = State::done;
  return verdict;
}

Result<Verdict> ImapDownstream::on_credentials(Result<Credentials> credentials,
                                               std::string& to_client, std::string& to_server) {
  return after_login_step(
      login_->gate().on_credentials(std::move(credentials), to_client, to_server));
}

Result<Verdict> ImapDownstream::after_pause(std::string& to_client) {
  return after_login_step(login_->gate().after_pause(to_client));
}

Result<Verdict> ImapDownstream::on_server_lost(std::string_view how, std::string& to_client) {
  if (!login_) return Verdict::need_more;
  return login_->gate().on_server_lost(how, to_client);
}

Result<Verdict> ImapDownstream::reconnected(std::string&) {
  return after_login_step(login_->gate().reconnected());
}

}  // namespace starttls::proto
