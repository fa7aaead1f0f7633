#include "lib/proto/imap_downstream.h"

#include <algorithm>
#include <cassert>
#include <utility>

#include "lib/base/ascii.h"
#include "lib/proto/clear_port.h"
#include "lib/proto/imap_id.h"
#include "lib/proto/imap_lists.h"
#include "lib/proto/words.h"

namespace starttls::proto {

using namespace imap;

namespace {

/// Maximum bytes of non-synchronizing literals in one refused command. The lines between them may
/// have `kMaxLine` bytes.
constexpr std::size_t kMaxSwallowed = 4096;

/// Asks the client for a literal of an ID.
constexpr std::string_view kContinuation = "+ Ready for literal data\r\n";

std::string tagged(std::string_view tag, std::string_view words) {
  return std::string(tag) + ' ' + std::string(words) + "\r\n";
}

/// Returns the non-synchronizing literal that a refused line ends with. It comes even if we do not
/// ask for it, and its text is no command (N14, P10). A synchronizing one does not come, because it
/// gets no "+".
std::optional<Literal> literal_to_skip(std::string_view text) noexcept {
  const auto literal = literal_at_end(text);
  return literal && !literal->waits ? literal : std::nullopt;
}

}  // namespace

ImapDownstream::ImapDownstream(const RoleSettings& settings)
    : settings_(settings), responses_(line_rules(settings.upstream, Errc::protocol), kMaxReply) {
  if (settings.login == LoginWhen::client) {
    login_.emplace(settings.tag, line_rules(settings.upstream, Errc::protocol));
  }
}

std::string_view ImapDownstream::state() const noexcept {
  static constexpr std::string_view kStateNames[] = {
      "greeting", "clear", "commands", "starttls", "login", "committed", "done"};
  if (state_ == State::login) return login_->gate().state();
  return kStateNames[static_cast<std::size_t>(state_)];
}

/// True for PREAUTH if the client must log in: such a server would serve it without a login.
bool ImapDownstream::rules_out_login(const Response& greeting) const noexcept {
  return login_ && greeting.is("PREAUTH");
}

Result<Verdict> ImapDownstream::begin(std::string_view greeting, std::string& to_client) {
  const auto first = greeting.substr(0, greeting.find_first_of("\r\n"));
  const Response status(first);
  preauthenticated_ = status.is("PREAUTH");
  if (rules_out_login(status)) {
    return fail(Attack::preauth, "server greeted with PREAUTH, which rules out a login",
                peer_words(first));
  }
  if (settings_.downstream != TlsMode::starttls) {
    state_ = State::commands;
    to_client += edited(greeting);
    return Verdict::need_more;
  }
  if (preauthenticated_) {
    return fail(Errc::protocol, "server greeted with PREAUTH, which rules out STARTTLS",
                peer_words(first));
  }
  if (const auto list = find_list(first); list && login_) login_->read_offer(*list);
  const auto text = status.is("OK") ? human_text(status.rest) : std::string{};
  const auto code = "* OK [CAPABILITY " + std::string(kClearCapabilities) + "] ";
  to_client += reduced_greeting(code, text, settings_, "IMAP4rev1");
  notices_ = edited(greeting.substr(std::min(greeting.find('\n'), greeting.size() - 1) + 1));
  state_ = State::clear;
  return Verdict::need_more;
}

/// Returns the lines of a greeting as the client may see them.
std::string ImapDownstream::edited(std::string_view greeting) {
  std::string lines;
  while (!greeting.empty()) {
    const auto line = greeting.substr(0, std::min(greeting.find('\n'), greeting.size() - 1) + 1);
    greeting.remove_prefix(line.size());
    lines += edit(line);
  }
  return lines;
}

Result<Verdict> ImapDownstream::secured(std::string& to_client) {
  assert(state_ == State::starttls);
  secured_ = true;
  refusals_ = {};
  starttls_tag_.clear();
  state_ = State::commands;
  to_client += std::exchange(notices_, {});
  // The server's connection may be another one than before.
  if (login_ && settings_.downstream == TlsMode::opportunistic) login_->gate().offer() = {};
  return Verdict::need_more;
}

Result<Step> ImapDownstream::from_client(std::string_view input, std::string& to_client,
                                         std::string& to_server) {
  Step step;
  // After STARTTLS and during a login nothing is read.
  while (step.verdict == Verdict::need_more && state_ != State::starttls &&
         state_ != State::login) {
    const auto rest = input.substr(step.consumed);
    heard_client_ |= step.consumed > 0;
    const bool clear = settings_.downstream != TlsMode::implicit && !secured_;
    if (clear && !heard_client_ && begins_with_tls(rest)) {
      return fail(tls_on_clear_port());
    }
    if (literal_left_ > 0) {
      if (rest.empty()) break;
      const auto size = std::min(rest.size(), literal_left_);
      literal_left_ -= size;
      step.consumed += size;
      continue;
    }
    const auto line = next_line(rest, rules(rest));
    if (!line) {
      if (!is_long_login(rest)) return fail(line.error());
      step.verdict = commit(rest.substr(0, rest.find(' ')));
      break;
    }
    if (!line->has_value()) break;
    if (awaits_response()) {
      const auto next = login_->on_response((*line)->text);
      const auto verdict = on_login_step(next, {}, to_client);
      if (!verdict) return fail(verdict.error());
      step.verdict = *verdict;
      step.consumed += (*line)->raw.size();
      continue;
    }
    const Command command(**line);
    if (is_filtered_id(command) || is_login(command)) {
      const auto size = is_login(command) ? on_login(rest, command, to_client)
                                          : on_id(rest, command, to_client, to_server);
      if (!size) return fail(size.error());
      if (*size == 0) break;
      step.consumed += *size;
      if (state_ == State::login) step.verdict = begin_login(to_client);
      continue;
    }
    const auto verdict = on_line(**line, to_client, to_server);
    if (!verdict) return fail(verdict.error());
    step.verdict = *verdict;
    if (step.verdict != Verdict::relay) step.consumed += (*line)->raw.size();
  }
  return step;
}

Result<Verdict> ImapDownstream::on_line(const Line& line, std::string& to_client,
                                        std::string& to_server) {
  if (refusal_) {
    swallowed_lines_ += line.raw.size();
    if (swallowed_lines_ > kMaxLine) {
      return fail(Errc::client_protocol, "client sent a line that is too long");
    }
    return refuse(line.text, *std::exchange(refusal_, std::nullopt), to_client);
  }
  const Command command(line);
  if (!is_tag(command.tag)) return refuse(line.text, "* BAD Invalid tag\r\n", to_client);
  if (!is_atom(command.verb)) {
    return refuse(line.text, tagged(command.tag, "BAD Invalid command"), to_client);
  }
  if (state_ == State::clear) return on_clear_command(command, to_client);
  return login_ ? on_command_before_login(command, to_client, to_server)
                : on_command(command, to_client, to_server);
}

Result<Verdict> ImapDownstream::on_clear_command(const Command& command, std::string& to_client) {
  const auto is = [&](std::string_view verb) { return ascii::iequals(command.verb, verb); };
  if (is("STARTTLS")) return on_starttls(command, to_client);
  if (is("LOGIN") || is("AUTHENTICATE")) {
    return refuse(command.text, tagged(command.tag, "NO [PRIVACYREQUIRED] STARTTLS first"),
                  to_client);
  }
  const bool bare = ascii::trim(command.arguments).empty();
  if (is("CAPABILITY") && bare) {
    to_client += "* CAPABILITY " + std::string(kClearCapabilities) + "\r\n";
    to_client += tagged(command.tag, "OK CAPABILITY completed");
    return Verdict::need_more;
  }
  if (is("NOOP") && bare) {
    to_client += tagged(command.tag, "OK NOOP completed");
    return Verdict::need_more;
  }
  if (is("ID") && !literal_at_end(command.text)) {
    to_client += "* ID NIL\r\n" + tagged(command.tag, "OK ID completed");
    return Verdict::need_more;
  }
  if (is("LOGOUT") && bare) {
    to_client += "* BYE Logging out\r\n" + tagged(command.tag, "OK LOGOUT completed");
    state_ = State::done;
    return Verdict::finish;
  }
  return refuse(command.text, tagged(command.tag, "BAD STARTTLS first"), to_client);
}

Result<Verdict> ImapDownstream::on_command(const Command& command, std::string& to_client,
                                           std::string& to_server) {
  if (ascii::iequals(command.verb, "STARTTLS")) return on_starttls(command, to_client);
  // A server that trusts our address would believe the client's claims about itself.
  if (is_any_of(command.verb, {"XCLIENT", "XFORWARD"})) {
    return refuse(command.text, tagged(command.tag, "NO Command not allowed"), to_client);
  }
  if (is_barred(command)) {
    return refuse(command.text, tagged(command.tag, "NO Mechanism not available"), to_client);
  }
  if (commits(command)) return commit(command.tag);
  return pass(command.tag, command.raw, to_server);
}

/// Passes a command to the server, which will answer by its tag.
Result<Verdict> ImapDownstream::pass(std::string_view tag, std::string_view bytes,
                                     std::string& to_server) {
  if (unanswered_.size() == kMaxUnanswered) {
    return fail(Errc::client_protocol, "too many commands at once");
  }
  unanswered_.emplace_back(tag);
  to_server += bytes;
  return Verdict::need_more;
}

/// True for an ID that must not pass unchanged. After PREAUTH any command commits.
bool ImapDownstream::is_filtered_id(const Command& command) const noexcept {
  return state_ == State::commands && !preauthenticated_ && !refusal_ && is_tag(command.tag) &&
         ascii::iequals(command.verb, "ID");
}

/// Passes the ID that `input` begins with, cleaned, or refuses it. Returns the bytes it has, or 0
/// if it is incomplete: then it is read again with the next bytes.
Result<std::size_t> ImapDownstream::on_id(std::string_view input, const Command& command,
                                          std::string& to_client, std::string& to_server) {
  const auto head = static_cast<std::size_t>(command.arguments.data() - input.data());
  auto rules = kClientRules;
  rules.limit -= head;
  const auto id = read_id(input.substr(head), rules);
  count_literals(id.continuations, to_client);
  if (!id.state) return fail(id.state.error());
  if (*id.state == IdCommand::State::incomplete) return 0;

  ask_late(to_client);
  const auto verdict =
      *id.state == IdCommand::State::malformed
          ? refuse(id.last_line, tagged(command.tag, "BAD Invalid ID"), to_client)
          : pass(command.tag, std::string(input.substr(0, head)) + id.arguments, to_server);
  if (!verdict) return fail(verdict.error());
  return head + id.size;
}

/// Notes that a command has had so many literals that wait for a "+".
void ImapDownstream::count_literals(std::size_t continuations, std::string& to_client) {
  continuations_due_ += continuations - std::exchange(continuations_seen_, continuations);
  ask_for_literals(to_client);
}

void ImapDownstream::ask_for_literals(std::string& to_client) {
  if (!all_answered()) return;
  for (; continuations_due_ > 0; --continuations_due_) to_client += kContinuation;
  to_client += std::exchange(challenges_, {});
}

/// Sends a client that has not waited for its "+" what it should have waited for.
void ImapDownstream::ask_late(std::string& to_client) {
  for (; continuations_due_ > 0; --continuations_due_) reply(kContinuation, to_client);
  if (!challenges_.empty()) reply(std::exchange(challenges_, {}), to_client);
  continuations_seen_ = 0;
}

Result<Verdict> ImapDownstream::on_starttls(const Command& command, std::string& to_client) {
  if (!offers_starttls()) {
    const bool active = secured_ || settings_.downstream == TlsMode::implicit;
    const auto* words = active ? "BAD TLS is already active" : "BAD STARTTLS is not available";
    return refuse(command.text, tagged(command.tag, words), to_client);
  }
  if (!ascii::trim(command.arguments).empty()) {
    return refuse(command.text, tagged(command.tag, "BAD STARTTLS takes no argument"), to_client);
  }
  starttls_tag_ = command.tag;
  state_ = State::starttls;
  return all_answered() ? Verdict::start_tls : Verdict::need_more;
}

/// Refuses a line that ends with `text`, after its literals.
Result<Verdict> ImapDownstream::refuse(std::string_view text, std::string words,
                                       std::string& to_client) {
  if (const auto literal = literal_to_skip(text)) {
    if (swallowed_ > kMaxSwallowed || literal->size > kMaxSwallowed - swallowed_) {
      return fail(Errc::client_protocol, "client sent a literal that is too long");
    }
    literal_left_ = static_cast<std::size_t>(literal->size);
    swallowed_ += literal_left_;
    refusal_ = std::move(words);
    return Verdict::need_more;
  }
  swallowed_ = 0;
  swallowed_lines_ = 0;
  if (const auto counted = refusals_.add(); !counted) return fail(counted.error());
  reply(words, to_client);
  return Verdict::need_more;
}

/// True if this login must not pass. If EXTERNAL is barred, only a mechanism that is written as an
/// atom passes, because servers also accept a string or a literal.
bool ImapDownstream::is_barred(const Command& command) const noexcept {
  if (!settings_.client_certificate || !ascii::iequals(command.verb, "AUTHENTICATE")) return false;
  auto arguments = command.arguments;
  const auto mechanism = take_field(arguments);
  return !is_atom(mechanism) || ascii::iequals(mechanism, "EXTERNAL");
}

bool ImapDownstream::commits_by_verb(const Command& command) const noexcept {
  return preauthenticated_ || is_any_of(command.verb, {"LOGIN", "AUTHENTICATE", "COMPRESS"});
}

bool ImapDownstream::commits(const Command& command) const noexcept {
  return commits_by_verb(command) || literal_at_end(command.text).has_value();
}

/// True if `input` begins with a line that is longer than the limit, and its verb commits. SASL
/// initial responses of 10 to 90 kB are in use (D9).
bool ImapDownstream::is_long_login(std::string_view input) const noexcept {
  if (login_) return false;
  if (state_ != State::commands || refusal_ || !is_too_long(input, kClientRules)) return false;
  const auto head = input.substr(0, kMaxLine);
  const Command command({.text = head, .raw = head});
  return is_tag(command.tag) && is_atom(command.verb) && commits_by_verb(command) &&
         !is_barred(command);
}

Verdict ImapDownstream::commit(std::string_view tag) {
  commit_tag_ = tag;
  state_ = State::committed;
  return Verdict::relay;
}

/// Relays the server from here on. Bytes that have arrived and are not read yet pass unchanged. If
/// this happens inside a response, our replies that wait for its end are dropped: they would
/// corrupt it.
Step ImapDownstream::relay_server(Step step) {
  state_ = State::done;
  step.verdict = Verdict::relay;
  return step;
}

Result<Step> ImapDownstream::from_server(std::string_view input, std::string& to_client,
                                         std::string& to_server) {
  Step step;
  if (state_ == State::clear) return step;  // the input waits until the client's TLS is up
  if (state_ == State::login && login_->gate().awaits_credentials()) {
    const auto early = login_->gate().hear_early(input);
    if (!early) return fail(early.error());
    return step;
  }
  while (true) {
    if (state_ == State::login && !login_->gate().is_waiting()) {
      const auto login = login_from_server(input.substr(step.consumed), to_client, to_server);
      if (!login) return fail(login.error());
      step.consumed += login->consumed;
      step.verdict = login->verdict;
      if (state_ != State::commands || step.verdict != Verdict::need_more) return step;
    }
    ask_for_literals(to_client);
    if (all_answered() && state_ == State::login) {
      step.verdict = begin_login(to_client);
      return step;
    }
    if (all_answered() && state_ == State::starttls) {
      step.verdict = Verdict::start_tls;
      return step;
    }
    const bool committed = state_ == State::committed;
    if (committed && all_answered()) return relay_server(step);
    const auto piece = responses_.next(input.substr(step.consumed));
    // After the commit no rule of the prelude ends a session (D4).
    if (!piece && committed) return relay_server(step);
    if (!piece) return fail(piece.error());
    if (!piece->has_value()) return step;
    if (committed && answers_commit(**piece)) return relay_server(step);
    if (const auto passed = on_piece(**piece, to_client); !passed) return fail(passed.error());
    step.consumed += (*piece)->raw.size();
  }
}

Result<> ImapDownstream::on_piece(const ResponseReader::Piece& piece, std::string& to_client) {
  if (piece.first) {
    to_client += edit(piece.raw);
  } else {
    to_client += piece.raw;
  }
  if (piece.last) to_client += std::exchange(own_replies_, {});
  return piece.first ? on_response(Response(piece.text)) : Result<>{};
}

/// True for a tagged reply to the client's last command, or a "+", which only that command can ask
/// for. Some servers have left earlier commands without a reply that has their tag (D4).
bool ImapDownstream::answers_commit(const ResponseReader::Piece& piece) const {
  if (!piece.first) return false;
  const Response response(piece.text);
  return response.asks_for_more() || (response.tag == commit_tag_ && !is_unanswered(response.tag));
}

bool ImapDownstream::is_unanswered(std::string_view tag) const {
  return std::find(unanswered_.begin(), unanswered_.end(), tag) != unanswered_.end();
}

/// Counts a refusal by the server, until the client has committed.
Result<> ImapDownstream::count_refusal() {
  return state_ == State::committed ? Result<>{} : refusals_.add();
}

/// Removes the command that has been answered. A tag that belongs to no command passes unchanged.
Result<> ImapDownstream::on_response(const Response& response) {
  const bool refused = is_any_of(response.word, {"NO", "BAD"});
  if (response.untagged()) {
    // "* NO" warns; "* BAD" answers a command with a tag that the server could not read (RFC 9051
    // §7.1.3). The server handles commands in turn, so this answers the oldest one.
    if (!response.is("BAD")) return {};
    if (!unanswered_.empty()) unanswered_.erase(unanswered_.begin());
    return count_refusal();
  }
  if (!refused && !response.is("OK")) return {};
  const auto command = std::find(unanswered_.begin(), unanswered_.end(), response.tag);
  if (command == unanswered_.end()) return {};
  unanswered_.erase(command);
  return refused ? count_refusal() : Result<>{};
}

/// Returns a line of the server as the client may see it: capability lists are edited, everything
/// else is unchanged.
std::string ImapDownstream::edit(std::string_view raw) {
  if (login_) {
    if (const auto list = find_list(raw)) login_->read_offer(*list);
  }
  return edit_list(raw, {.offers_starttls = offers_starttls(),
                         .bars_external = settings_.client_certificate,
                         .login = login_ ? ListEdit::Login::ours : ListEdit::Login::passes});
}

}  // namespace starttls::proto
