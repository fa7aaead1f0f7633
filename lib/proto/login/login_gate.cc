#include "lib/proto/login/login_gate.h"

#include <cassert>
#include <utility>

#include "lib/base/ascii.h"
#include "lib/proto/login/login_dialect.h"

namespace starttls::proto {
namespace {

/// Maximum refused logins of a session.
constexpr unsigned kMaxRefusals = 3;

}  // namespace

LoginGate::LoginGate(const LoginDialect& dialect, const LoginAnswers& answers, std::string tag,
                     LineRules rules)
    : dialect_(dialect), answers_(answers), tag_(std::move(tag)), rules_(rules) {}

std::string_view LoginGate::state() const noexcept {
  static constexpr std::string_view kStateNames[] = {
      "commands", "login", "credentials", "server-login", "refusal", "reconnect", "done"};
  return kStateNames[static_cast<std::size_t>(state_)];
}

const LoginReport* LoginGate::report() const noexcept {
  return is_reported_ ? &*report_ : nullptr;
}

void LoginGate::submit(ClientLogin login) {
  assert(state_ == State::idle);
  login_ = std::move(login);
  report_ = LoginReport{.name = login_.name, .user = {}, .client = login_.mechanism};
  is_reported_ = false;
  state_ = State::waiting;
}

/// False for a login that is refused as wrong before any account is looked up.
bool LoginGate::may_be_asked_about(const ClientLogin& login) noexcept {
  const auto password = login.password.reveal();
  return !login.wants_other_identity && !login.name.empty() && login.name.size() <= kMaxLoginName &&
         ascii::is_one_line(login.name) && password.size() <= kMaxSecret &&
         ascii::is_one_line(password);
}

Verdict LoginGate::begin() {
  assert(state_ == State::waiting);
  if (may_be_asked_about(login_)) {
    state_ = State::credentials;
    return Verdict::log_in;
  }
  if (login_.name.size() > kMaxLoginName) report_->name.resize(kMaxLoginName);
  return refuse({Errc::client_login, "the name or the password cannot be valid"});
}

LoginRequest LoginGate::request() const {
  return {.name = login_.name,
          .password = login_.password,
          .mechanism = login_.mechanism,
          .refused = asks_anew_};
}

/// Returns the secret that the server gets. The client's own leaves the proxy only if its account
/// says so.
Secret LoginGate::secret_for_server(const Credentials& credentials) const {
  return credentials.passed_on ? login_.password : credentials.secret;
}

Result<Verdict> LoginGate::on_credentials(Result<Credentials> credentials, std::string& to_client,
                                          std::string& to_server) {
  assert(state_ == State::credentials);
  if (!credentials) {
    auto& error = credentials.error();
    if (!refused_ && error.code == Errc::client_login) return refuse(std::move(error));
    if (!refused_) return give_up(std::move(error), to_client);
    refused_->evidence += "; no other secret: " + error.reason;
    return give_up(*refused_, to_client);
  }
  credentials->secret = secret_for_server(*credentials);
  if (refused_ && credentials->secret == refused_secret_) return give_up(*refused_, to_client);
  tried_ = credentials->secret;
  passed_on_ = credentials->passed_on;
  report_->user = credentials->user;
  server_.emplace(dialect_, std::move(*credentials), offer_, next_tag(), rules_);
  state_ = State::exchange;
  return conclude(server_->begin(to_server), to_client);
}

/// Returns the beginning of the tags of the next login at the server. No reply to an earlier one
/// can be taken for a reply to it.
std::string LoginGate::next_tag() {
  return dialect_.tagged ? tag_ + '-' + std::to_string(++logins_at_server_) + '-' : tag_;
}

Result<> LoginGate::hear_early(std::string_view words) const {
  const auto replies = dialect_.replies(rules_);
  if (replies->comes_unasked(words)) return {};
  const auto piece = replies->next(words);
  const bool says_goodbye =
      piece && piece->has_value() && (*piece)->kind == LoginPiece::Kind::goodbye;
  if (!says_goodbye) return replies->unasked(words);
  return {};
}

Result<Step> LoginGate::from_server(std::string_view input, std::string& to_client,
                                    std::string& to_server) {
  assert(state_ == State::exchange);
  const auto progress = server_->on_input(input, to_server);
  if (!progress) {
    report(Error{Errc::login, progress.error().reason});
    return fail(progress.error());
  }
  const auto verdict = conclude(progress->status, to_client);
  if (!verdict) return fail(verdict.error());
  return Step{progress->consumed, *verdict};
}

/// Returns why the server has not accepted the login. The client has spoken.
Error LoginGate::why_not(ServerLogin::Status status) const {
  return login_failure(*server_, status, ReplyInLog::code);
}

Result<Verdict> LoginGate::conclude(ServerLogin::Status status, std::string& to_client) {
  offer_ = server_->offer();
  report_->server = server_->mechanism();
  switch (status) {
    case ServerLogin::Status::going_on:
      return Verdict::need_more;
    case ServerLogin::Status::succeeded:
      to_client += answers_.success(server_->reply());
      report(std::nullopt);
      end(State::done);
      return Verdict::relay;
    case ServerLogin::Status::refused:
      return on_refused(why_not(status), to_client);
    case ServerLogin::Status::not_offered:
      return give_up(why_not(status), to_client);
    case ServerLogin::Status::gone:
      break;
  }
  if (refused_ && !reconnected_) return use_fresh_connection(State::credentials);
  return lose(why_not(status), to_client);
}

/// Continues after the server's refusal. A refused secret of the proxy may be old: it is asked for
/// anew, once.
Result<Verdict> LoginGate::on_refused(Error why, std::string& to_client) {
  reconnected_ = false;
  if (passed_on_) {
    if (!server_->reply().code.empty()) passed_reply_ = server_->reply();
    why.code = Errc::client_login;
    return refuse(std::move(why));
  }
  if (refused_) return give_up(std::move(why), to_client);
  refused_ = std::move(why);
  refused_secret_ = std::move(tried_);
  asks_anew_ = true;
  server_.reset();
  state_ = State::credentials;
  return Verdict::log_in;
}

Verdict LoginGate::refuse(Error why) {
  report(std::move(why));
  server_.reset();
  ++refusals_;
  state_ = State::pause;
  return Verdict::pause;
}

Result<Verdict> LoginGate::after_pause(std::string& to_client) {
  assert(state_ == State::pause);
  to_client += passed_reply_ ? answers_.passed_refusal(*passed_reply_) : answers_.refusal();
  const bool lost = lost_;
  if (refusals_ == kMaxRefusals) {
    end(State::done);
    return fail(Errc::client_login, "the client's logins were refused three times");
  }
  end(State::idle);
  if (!lost) return Verdict::need_more;
  if (reconnected_) {
    end(State::done);
    return Verdict::finish;
  }
  return use_fresh_connection(State::idle);
}

/// Answers that the login failed without the client's fault.
Verdict LoginGate::give_up(Error why, std::string& to_client) {
  to_client += answers_.unavailable(why.reason);
  report(std::move(why));
  end(State::idle);
  return Verdict::need_more;
}

Result<Verdict> LoginGate::on_server_lost(std::string_view how, std::string& to_client) {
  const std::string reason = "server left during the login: " + std::string(how);
  switch (state_) {
    case State::idle:
    case State::waiting:
    case State::done:
      break;
    case State::credentials:
    case State::exchange:
      // Servers close after a refusal. The fresh secret is used on a fresh connection.
      if (refused_ && !reconnected_) return use_fresh_connection(State::credentials);
      return lose({Errc::login, reason}, to_client);
    case State::fresh:
      return lose({Errc::login, reason}, to_client);
    case State::pause:
      lost_ = true;
      return Verdict::pause;
  }
  return Verdict::need_more;
}

/// Gives up the login, and the connection. The client may try again on a fresh one.
Result<Verdict> LoginGate::lose(Error why, std::string& to_client) {
  why.code = Errc::login;
  static_cast<void>(give_up(why, to_client));
  if (reconnected_) {  // the client has its answer, so the session just ends
    end(State::done);
    return Verdict::finish;
  }
  return use_fresh_connection(State::idle);
}

/// Asks for a fresh connection. If the server leaves that one too, before it has answered a login,
/// there is no other. The state after it is `fresh` or, if the login goes on there, `credentials`.
Verdict LoginGate::use_fresh_connection(State next) {
  reconnected_ = true;
  asks_anew_ = false;  // the secret that is fetched now serves
  offer_ = {};
  server_.reset();
  state_ = next == State::credentials ? next : State::fresh;
  return Verdict::reconnect;
}

Verdict LoginGate::reconnected() {
  if (state_ == State::credentials) return Verdict::log_in;
  assert(state_ == State::fresh);
  state_ = State::idle;
  return Verdict::need_more;
}

void LoginGate::report(std::optional<Error> failure) {
  report_->failure = std::move(failure);
  is_reported_ = true;
}

/// Forgets the login, its secrets first of all.
void LoginGate::end(State next) {
  login_ = {};
  tried_ = {};
  refused_secret_ = {};
  server_.reset();
  refused_.reset();
  passed_reply_.reset();
  asks_anew_ = false;
  passed_on_ = false;
  lost_ = false;
  state_ = next;
}

}  // namespace starttls::proto
