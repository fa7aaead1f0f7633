#include "lib/proto/line_downstream.h"

#include <algorithm>
#include <cassert>
#include <utility>

#include "lib/base/ascii.h"
#include "lib/proto/clear_port.h"

namespace starttls::proto {

LineDownstream::LineDownstream(const RoleSettings& settings, const StarttlsWords& starttls,
                               const LoginWords& login)
    : settings_(settings),
      starttls_(starttls),
      server_rules_(line_rules(settings.upstream, Errc::protocol)),
      secure_(settings.downstream == TlsMode::implicit) {
  if (settings.login == LoginWhen::client) login_.emplace(login, settings.hostname, server_rules_);
}

std::string_view LineDownstream::state() const noexcept {
  static constexpr std::string_view kStateNames[] = {
      "greeting", "commands", "starttls", "tls", "login", "hello", "goodbye", "committed", "done"};
  if (state_ == State::login) return login_->gate().state();
  return kStateNames[static_cast<std::size_t>(state_)];
}

bool LineDownstream::is_locked() const noexcept {
  return settings_.downstream == TlsMode::starttls && !secure_;
}

Result<Verdict> LineDownstream::begin(std::string_view greeting, std::string& to_client) {
  state_ = State::commands;
  if (const auto greeted = greet(greeting, to_client); !greeted) return fail(greeted.error());
  return Verdict::need_more;
}

Result<> LineDownstream::greet(std::string_view greeting, std::string& to_client) {
  to_client += greeting;
  return {};
}

Result<Verdict> LineDownstream::secured(std::string& to_client) {
  assert(state_ == State::tls && is_settled());
  state_ = State::commands;
  secure_ = true;
  refusals_ = {};
  hello_.reset();
  if (login_) login_->forget();
  if (const auto begun = on_secured(to_client); !begun) return fail(begun.error());
  return Verdict::need_more;
}

// ---------------------------------------------------------------- the client's commands

Result<Step> LineDownstream::from_client(std::string_view input, std::string& to_client,
                                         std::string& to_server) {
  Step step;
  // After STARTTLS no more is read: the leg refuses further bytes.
  while (state_ == State::commands) {
    const auto rest = input.substr(step.consumed);
    if (to_skip_ > 0) {
      const auto skipped = std::min<std::uint64_t>(to_skip_, rest.size());
      if (skipped == 0) break;
      to_skip_ -= skipped;
      step.consumed += static_cast<std::size_t>(skipped);
      continue;
    }
    if (!heard_client_ && !secure_ && begins_with_tls(rest)) return fail(tls_on_clear_port());
    const auto line = next_command(rest);
    if (!line && commits_early(rest)) return commit(step);
    if (!line) return fail(line.error());
    if (!line->has_value()) break;
    const auto [text, raw] = **line;
    auto action = login_ && login_->awaits_response() ? on_response(text) : action_for(text, true);
    if (action.kind == Action::Kind::commit) return commit(step);
    to_skip_ = action.skip;
    const auto done = perform(std::move(action), raw, to_server);
    if (!done) return fail(done.error());
    step.consumed += raw.size();
    heard_client_ = true;
    send_our_replies(to_client);
    step.verdict = end_of_dialogue();
  }
  return step;
}

/// Relays the client's bytes from here on: the line that commits is the first one.
Step LineDownstream::commit(Step step) noexcept {
  state_ = State::committed;
  step.verdict = Verdict::relay;
  return step;
}

Action LineDownstream::action_for(std::string_view text, bool is_whole) {
  auto arguments = text;
  const auto verb = take_verb(arguments);
  if (ascii::iequals(verb, starttls_.command)) return on_starttls(arguments);
  const Command command{verb, arguments, text, is_whole};
  if (is_locked()) return on_command_before_tls(command);
  return login_ ? on_command_before_login(command) : on_command(command);
}

/// Returns the rules of a line that may hold a login, or those of the command.
LineRules LineDownstream::rules(std::string_view input) const noexcept {
  if (!login_ || is_locked()) return rules_for(input);
  // Read only as far as other lines may go: the limit must not depend on how a line is cut.
  auto rest = input.substr(0, kMaxLine);
  if (login_->awaits_response()) return kResponseRules;
  return logs_in(take_verb(rest)) ? kLoginRules : rules_for(input);
}

/// True if `input` begins with a line that is longer than the limit, and its verb commits. The rest
/// of the line need not have come: SASL initial responses of 10 to 90 kB are in use (D9).
bool LineDownstream::commits_early(std::string_view input) {
  if (login_) return false;
  const auto rules = rules_for(input);
  if (!is_too_long(input, rules)) return false;
  const auto head = input.substr(0, rules.limit - 1);
  auto rest = head;
  static_cast<void>(take_verb(rest));
  const bool is_whole_verb = !rest.empty();
  return is_whole_verb && action_for(head, false).kind == Action::Kind::commit;
}

Action LineDownstream::on_starttls(std::string_view arguments) const {
  const auto refuse = [](std::string_view words) {
    return Action{Action::Kind::refuse, std::string(words)};
  };
  if (secure_) return refuse(starttls_.already_active);
  if (!offers_starttls()) return refuse(starttls_.unavailable);
  if (!take_word(arguments).empty()) return refuse(starttls_.has_argument);
  const auto objection = starttls_objection();
  if (!objection.empty()) return refuse(objection);
  return {Action::Kind::start_tls};
}

/// Sends the command to the server, or queues our answer to it, or ends the dialogue.
Result<> LineDownstream::perform(Action action, std::string_view raw, std::string& to_server) {
  if (action.kind == Action::Kind::start_tls || action.kind == Action::Kind::log_in) {
    state_ = action.kind == Action::Kind::log_in ? State::login : State::starttls;
    return {};
  }
  if (expected_.size() == kMaxUnanswered) {
    return fail(Errc::client_protocol, "too many commands at once");
  }
  if (action.kind == Action::Kind::refuse) {
    if (auto counted = refusals_.add(); !counted) return counted;
  }
  if (action.kind == Action::Kind::finish) state_ = State::goodbye;
  if (!is_ours(action)) to_server += raw;
  if (action.is_repeated) {
    hello_ = action.kind;
    hello_line_ = raw;
  }
  expected_.push_back(std::move(action));
  return {};
}

// ---------------------------------------------------------------- the server's replies

Result<Step> LineDownstream::from_server(std::string_view input, std::string& to_client,
                                         std::string& to_server) {
  Step step;
  if (state_ == State::login && login_->gate().awaits_credentials()) {
    const auto early = login_->gate().hear_early(input);
    if (!early) return fail(early.error());
    return step;
  }
  if (state_ == State::login && login_->gate().reads_server()) {
    auto login = login_->gate().from_server(input, to_client, to_server);
    if (!login) return fail(login.error());
    step.consumed = login->consumed;
    const auto verdict = after_login_step(login->verdict);
    step.verdict = *verdict;
    if (step.verdict != Verdict::need_more) return step;
  }
  while (reads_replies()) {
    step.verdict = end_of_dialogue();
    if (step.verdict != Verdict::need_more) break;
    std::string unseen;  // the client has heard this reply, from another connection
    const auto taken =
        take_reply_line(input.substr(step.consumed), state_ == State::hello ? unseen : to_client);
    if (!taken && state_ == State::committed) {
      // Answers of our own that wait for the reply's end are dropped: inside the reply they would
      // do more harm.
      give_up_reply(to_client);
      state_ = State::done;
      step.verdict = Verdict::relay;
      break;
    }
    if (!taken) return fail(taken.error());
    if (!taken->has_value()) break;
    step.consumed += **taken;
  }
  return step;
}

/// False while the server's words wait: until the client's TLS is up, if it is required (S6), and
/// while a login waits for something else.
bool LineDownstream::reads_replies() const noexcept {
  if (is_locked() || state_ == State::tls) return false;
  return state_ != State::login || login_->gate().is_waiting();
}

/// Returns how many bytes are finished: those of a line, or 0 if a reply ended without one. Returns
/// nothing if the line is incomplete.
Result<std::optional<std::size_t>> LineDownstream::take_reply_line(std::string_view input,
                                                                   std::string& to_client) {
  const auto line = next_reply_line(input, server_rules_);
  if (!line) return fail(line.error());
  if (!line->has_value()) return std::nullopt;
  if (inside_reply_ && lacks_end(**line)) {
    end_reply(to_client);
    return 0;  // the line begins the next reply, which may be the relay's
  }
  if (!inside_reply_) begin_reply();
  if (const auto within = meter_.add(**line); !within) return fail(within.error());
  const auto part = on_reply_line(**line, to_client);
  if (!part) return fail(part.error());
  const auto size = (*line)->raw.size();
  if (*part == ReplyPart::more) {
    inside_reply_ = true;
    return size;
  }
  if (*part == ReplyPart::refusal && !is_unasked_ && state_ != State::committed) {
    if (const auto counted = refusals_.add(); !counted) return fail(counted.error());
  }
  end_reply(to_client);
  return size;
}

void LineDownstream::begin_reply() {
  // A reply without a command comes from the server itself (it is closing), and passes.
  is_unasked_ = expected_.empty();
  asked_ = is_unasked_ ? Action::Kind::pass : expected_.front().kind;
  if (!is_unasked_) expected_.pop_front();
}

void LineDownstream::end_reply(std::string& to_client) {
  inside_reply_ = false;
  meter_.reset();
  send_our_replies(to_client);
}

/// Sends the answers that are next. They wait for the server's replies to all earlier commands, and
/// are never inserted into one.
void LineDownstream::send_our_replies(std::string& to_client) {
  if (inside_reply_) return;
  while (!expected_.empty() && is_ours(expected_.front())) {
    to_client += expected_.front().words;
    expected_.pop_front();
  }
}

/// True if every command so far has been answered, and the server is not inside a reply. Neither
/// the relay (G2) nor the client's TLS (A11) starts before that.
bool LineDownstream::is_settled() const noexcept {
  return expected_.empty() && !inside_reply_;
}

/// Returns the verdict that ends the dialogue, once all replies have passed.
Verdict LineDownstream::end_of_dialogue() {
  if (!is_settled()) return Verdict::need_more;
  switch (state_) {
    case State::greeting:
    case State::commands:
    case State::tls:
    case State::done:
      break;
    case State::starttls:
      state_ = State::tls;
      return Verdict::start_tls;
    case State::login:
      return login_->gate().is_waiting() ? login_->gate().begin() : Verdict::need_more;
    case State::hello:
      return end_of_hello();
    case State::goodbye:
      state_ = State::done;
      return Verdict::finish;
    case State::committed:
      state_ = State::done;
      return Verdict::relay;
  }
  return Verdict::need_more;
}

// ---------------------------------------------------------------- the client's login

/// Lets the client go on if its login has ended without a success.
Result<Verdict> LineDownstream::after_login_step(Result<Verdict> verdict) {
  if (!login_->gate().is_under_way()) state_ = State::commands;
  if (verdict && *verdict == Verdict::relay) state_ = State::done;
  return verdict;
}

Result<Verdict> LineDownstream::on_credentials(Result<Credentials> credentials,
                                               std::string& to_client, std::string& to_server) {
  return after_login_step(
      login_->gate().on_credentials(std::move(credentials), to_client, to_server));
}

Result<Verdict> LineDownstream::after_pause(std::string& to_client) {
  return after_login_step(login_->gate().after_pause(to_client));
}

Result<Verdict> LineDownstream::on_server_lost(std::string_view how, std::string& to_client) {
  if (!login_) return Verdict::need_more;
  return login_->gate().on_server_lost(how, to_client);
}

/// Repeats the client's hello on a fresh connection. Its reply is for the proxy only.
Result<Verdict> LineDownstream::reconnected(std::string& to_server) {
  inside_reply_ = false;
  meter_.reset();
  const auto verdict = login_->gate().reconnected();
  if (!hello_) return after_login_step(verdict);
  to_server += hello_line_;
  expected_.push_back({*hello_});
  state_ = State::hello;
  return Verdict::need_more;
}

Verdict LineDownstream::end_of_hello() noexcept {
  const bool goes_on = login_->gate().is_under_way();
  state_ = goes_on ? State::login : State::commands;
  return goes_on ? Verdict::log_in : Verdict::need_more;
}

Result<> LineDownstream::pass_reply(std::string_view reply, std::string& to_client) {
  while (!reply.empty()) {
    const auto taken = take_reply_line(reply, to_client);
    if (!taken) return fail(taken.error());
    if (!taken->has_value()) return fail(Errc::protocol, "server sent an incomplete reply");
    reply.remove_prefix(**taken);
  }
  return {};
}

}  // namespace starttls::proto
