#include "lib/proto/login/login_upstream.h"

#include <cassert>
#include <utility>

namespace starttls::proto {

LoginUpstream::LoginUpstream(std::unique_ptr<UpstreamRole> role, const RoleSettings& settings,
                             const LoginDialect& dialect)
    : role_(std::move(role)), settings_(settings), dialect_(dialect) {}

Result<Verdict> LoginUpstream::begin(std::string& to_server) {
  return after_role(role_->begin(to_server));
}

Result<Verdict> LoginUpstream::secured(std::string& to_server) {
  return after_role(role_->secured(to_server));
}

Result<Verdict> LoginUpstream::on_quiet(std::string& to_server) {
  if (state_ != State::greeting) return Verdict::need_more;
  return after_role(role_->on_quiet(to_server));
}

/// True if TLS protects the leg. The configuration demands it too.
bool LoginUpstream::is_secure() const noexcept {
  return settings_.upstream != TlsMode::none && !settings_.tls_refused && fallback_reason_.empty();
}

/// Asks for credentials when the protocol's role has finished.
Result<Verdict> LoginUpstream::after_role(Result<Verdict> verdict) {
  greeting_ = role_->greeting();
  fallback_reason_ = role_->fallback_reason();
  server_closes_ = role_->server_closes();
  if (!verdict || *verdict != Verdict::greeted) return verdict;
  if (!is_secure()) return give_up({Errc::login, "a login needs TLS to the server"});
  state_ = State::credentials;
  return Verdict::log_in;
}

Result<Step> LoginUpstream::step(std::string_view input, std::string& to_server) {
  switch (state_) {
    case State::greeting:
      return on_role_input(input, to_server);
    case State::credentials:
      return on_early_input(input);
    case State::login:
      return on_login_input(input, to_server);
    case State::done:
      break;
  }
  assert(false && "step() after the role has ended");
  return on_early_input(input);
}

Result<Step> LoginUpstream::on_role_input(std::string_view input, std::string& to_server) {
  const auto step = role_->step(input, to_server);
  const auto verdict = after_role(step ? Result<Verdict>(step->verdict) : fail(step.error()));
  if (!verdict) return fail(verdict.error());
  if (*verdict != Verdict::log_in) return Step{step->consumed, *verdict};
  const auto early = on_early_input(input.substr(step->consumed));
  if (!early) return fail(early.error());
  return Step{step->consumed, early->verdict};
}

/// Refuses the server's words before our next command. They could pass for its answer. Only a
/// goodbye may come unasked (RFC 5321 §3.8), and it often follows a refusal.
Result<Step> LoginUpstream::on_early_input(std::string_view input) {
  constexpr std::string_view kGoodbye = "421";
  if (kGoodbye.starts_with(input)) return Step{0, Verdict::log_in};  // none, or not enough of it
  if (!input.starts_with(kGoodbye)) return unasked(input);
  const auto verdict = lose({Errc::login, "server ended the login: 421", peer_words(input)});
  if (!verdict) return fail(verdict.error());
  return Step{0, *verdict};
}

/// Goes on after the server has left, or has said that it will, before a login was answered.
/// Another secret gets a fresh connection, but only one.
Result<Verdict> LoginUpstream::lose(Error error) {
  if (!refused_) return give_up(std::move(error));
  if (is_second_connection_) return give_up(refused_->why);
  return Verdict::reconnect;
}

Result<Verdict> LoginUpstream::on_server_lost(Error how) {
  if (state_ != State::credentials && state_ != State::login) return fail(std::move(how));
  return lose({Errc::login, "server left during the login", std::move(how.evidence)});
}

std::optional<RefusedLogin> LoginUpstream::refused_login() const {
  return refused_;
}

void LoginUpstream::go_on_with(const RefusedLogin& refused) {
  refused_ = refused;
  is_second_connection_ = true;
}

tl::unexpected<Error> LoginUpstream::unasked(std::string_view words) {
  return give_up(dialect_.replies(rules())->unasked(words).value());
}

LoginRequest LoginUpstream::login_request() const {
  LoginRequest request;
  // Later, the secret that was fetched anew serves.
  request.refused = refused_.has_value() && !is_second_connection_;
  return request;
}

Result<Verdict> LoginUpstream::on_credentials(Result<Credentials> credentials,
                                              std::string& to_server) {
  assert(state_ == State::credentials);
  // The server's refusal says more than that there is no other secret.
  if (!credentials) return give_up(refused_ ? refused_->why : std::move(credentials.error()));
  if (auto fits = usable(*credentials); !fits) return give_up(std::move(fits.error()));
  if (refused_ && credentials->secret == refused_->secret) return give_up(refused_->why);
  report_.user = credentials->user;
  secret_ = credentials->secret;
  auto offer = login_ ? login_->offer() : LoginOffer{};
  login_.emplace(dialect_, std::move(*credentials), std::move(offer), settings_.hostname, rules());
  state_ = State::login;
  return on_status(login_->begin(to_server));
}

Result<Step> LoginUpstream::on_login_input(std::string_view input, std::string& to_server) {
  const auto progress = login_->on_input(input, to_server);
  if (!progress) return give_up(progress.error());
  const auto verdict = on_status(progress->status);
  if (!verdict) return fail(verdict.error());
  const auto early = input.substr(progress->consumed);
  // The reply has ended, and the client has said nothing yet.
  if (*verdict == Verdict::greeted && !early.empty()) return unasked(early);
  if (*verdict != Verdict::log_in) return Step{progress->consumed, *verdict};
  const auto next = on_early_input(early);
  if (!next) return fail(next.error());
  return Step{progress->consumed, next->verdict};
}

/// True if another secret may help. Only a refusal counts, and only the first one: a server that
/// refuses them all must not be asked for ever (LP18).
bool LoginUpstream::may_try_again(ServerLogin::Status status) const noexcept {
  return status == ServerLogin::Status::refused && !refused_;
}

Result<Verdict> LoginUpstream::on_status(ServerLogin::Status status) {
  report_.server = login_->mechanism();
  if (status == ServerLogin::Status::going_on) return Verdict::need_more;
  if (status == ServerLogin::Status::succeeded) {
    state_ = State::done;
    reported_ = true;
    secret_ = Secret();
    refused_.reset();
    return Verdict::greeted;
  }
  auto error = login_failure(*login_, status, ReplyInLog::whole);
  if (status == ServerLogin::Status::gone) return lose(std::move(error));
  if (!may_try_again(status)) return give_up(std::move(error));
  refused_ = {std::move(error), std::move(secret_)};
  state_ = State::credentials;
  return Verdict::log_in;
}

/// Ends the role. A login that failed is reported; a server that breaks the protocol is not.
tl::unexpected<Error> LoginUpstream::give_up(Error error) {
  state_ = State::done;
  secret_ = Secret();
  refused_.reset();
  reported_ = error.code == Errc::login;
  if (reported_) report_.failure = error;
  return fail(std::move(error));
}

const LoginReport* LoginUpstream::login_report() const noexcept {
  return reported_ ? &report_ : nullptr;
}

std::string_view LoginUpstream::state() const noexcept {
  switch (state_) {
    case State::greeting:
      return role_->state();
    case State::credentials:
      return "credentials";
    case State::login:
      return login_->state();
    case State::done:
      break;
  }
  return "done";
}

}  // namespace starttls::proto
