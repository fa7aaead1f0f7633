#include "lib/session/upstream/opening.h"

#include <utility>

#include "lib/base/secret.h"
#include "lib/session/policy.h"

namespace starttls::session {
namespace {

/// True if the server has done nothing wrong but to lack TLS. It hears that we leave (N1).
bool may_hear_goodbye(Errc code) noexcept {
  return code == Errc::tls_not_offered || code == Errc::tls_refused;
}

}  // namespace

Opening::Step Opening::on_connected() {
  if (!policy_.always_conducts && relays_from_first_byte(policy_.downstream, policy_.upstream)) {
    return {Do::opened};
  }
  if (policy_.upstream != TlsMode::implicit) {
    awaits_first_byte_ = true;
    return start_role();
  }
  stage_ = OpeningStage::handshake;
  return {Do::start_tls};
}

Opening::Step Opening::start_role() {
  stage_ = OpeningStage::prelude;
  role_ = policy_.make_role(in_the_clear_);
  if (refused_login_) role_->go_on_with(*refused_login_);
  Step step;
  const auto verdict = role_->begin(step.to_server);
  return on_verdict(verdict, std::move(step));
}

Opening::Step Opening::on_secured() {
  if (role_ == nullptr) return start_role();
  stage_ = OpeningStage::prelude;
  Step step;
  const auto verdict = role_->secured(step.to_server);
  awaits_push_ = verdict && *verdict == proto::Verdict::need_more;
  return on_verdict(verdict, std::move(step));
}

Opening::Step Opening::on_input(std::string_view input) {
  awaits_first_byte_ = false;
  awaits_push_ = false;
  Step step;
  const auto taken = role_->step(input, step.to_server);
  if (!taken) return on_verdict(fail(taken.error()), std::move(step));
  step.consumed = taken->consumed;
  return on_verdict(taken->verdict, std::move(step));
}

Opening::Step Opening::on_credentials(Result<proto::Credentials> credentials,
                                      std::string_view waiting) {
  awaits_credentials_ = false;
  Step step;
  if (!waiting.empty()) {
    const auto early = role_->step(waiting, step.to_server);
    if (!early) return on_verdict(fail(early.error()), std::move(step));
    if (early->verdict == proto::Verdict::reconnect) return log_in_elsewhere();
  }
  const auto verdict = role_->on_credentials(std::move(credentials), step.to_server);
  return on_verdict(verdict, std::move(step));
}

Opening::Step Opening::on_verdict(const Result<proto::Verdict>& verdict, Step step) {
  // Bytes that a failed role wrote are not sent (see role.h).
  if (!verdict) {
    wipe(step.to_server);
    Step next = on_failed(verdict.error());
    if (may_hear_goodbye(verdict.error().code)) next.to_server = goodbye();
    return next;
  }
  switch (*verdict) {
    case proto::Verdict::need_more:
      break;
    case proto::Verdict::start_tls:
      stage_ = OpeningStage::handshake;
      step.what = Do::start_tls;
      break;
    case proto::Verdict::greeted:
    case proto::Verdict::relay:
      step.what = Do::opened;
      if (needs_fresh_connection()) {
        fallback_reason_ = role_->fallback_reason();
        role_.reset();
        in_the_clear_ = true;
        stage_ = OpeningStage::connecting;
        step.what = Do::connect;
        step.to_server += goodbye();
      }
      break;
    case proto::Verdict::log_in:
      awaits_credentials_ = true;
      step.what = Do::log_in;
      break;
    case proto::Verdict::reconnect:
      return log_in_elsewhere();
    case proto::Verdict::pause:
      break;  // only of a downstream role
    case proto::Verdict::finish:
      step.what = Do::give_up;
      step.error = Error{Errc::closed, "the server ended the dialogue"};
      break;
  }
  return step;
}

std::string Opening::goodbye() const {
  return std::string{policy_.goodbye} + "\r\n";
}

/// True if the server cannot serve a client on this connection. Either it has received our hello
/// and may accept no other, or it has refused TLS and hangs up (D1).
bool Opening::needs_fresh_connection() const {
  return !role_->fallback_reason().empty() &&
         (policy_.has_hello || role_->server_closes() || policy_.has_hung_up());
}

Opening::Step Opening::on_expired() {
  switch (stage_) {
    case OpeningStage::connecting:
      return {.what = Do::give_up,
              .error = Error{Errc::timeout, "timed out while connecting to the server"}};
    case OpeningStage::handshake:
      // The next address may do better, as long as any time is left.
      return on_failed(Error{Errc::timeout, "the TLS handshake with the server timed out"});
    case OpeningStage::prelude:
      break;
  }
  if (awaits_credentials_) {
    return {.what = Do::give_up,
            .error = Error{Errc::timeout, "the secret for the login did not come in time"}};
  }
  if (expects_silence()) {
    return on_failed(Error{Errc::timeout, "the server sent nothing: " + policy_.port_mistake() +
                                              "; set upstream.tls = implicit"});
  }
  if (!std::exchange(awaits_push_, false) || !policy_.has_time()) {
    return {.what = Do::give_up,
            .error = Error{Errc::timeout, "the server did not answer in time"}};
  }
  Step step;
  const auto verdict = role_->on_quiet(step.to_server);
  return on_verdict(verdict, std::move(step));
}

Opening::Step Opening::on_failed(const Error& error) {
  if (stage_ == OpeningStage::handshake && policy_.note_unanswered_hello() && policy_.has_time()) {
    Step step = connect_again(error);
    step.with_smaller_hello = true;
    return step;
  }
  // Another address would refuse the same login, and an account may be locked after a few.
  const bool is_about_login = error.code == Errc::login || error.code == Errc::client_login;
  if (refused_login_ && !is_about_login) return {.what = Do::give_up, .error = refused_login_->why};
  if (is_about_login || address_index_ + 1 >= policy_.addresses || !policy_.has_time()) {
    return {.what = Do::give_up, .error = error};
  }
  ++address_index_;
  return connect_again(error);
}

Opening::Step Opening::on_server_lost(const Error& how) {
  if (role_ == nullptr || stage_ != OpeningStage::prelude) return on_failed(how);
  return on_verdict(role_->on_server_lost(how), {});
}

/// Connects to the same server again: it has refused a secret and left, and there may be another.
Opening::Step Opening::log_in_elsewhere() {
  refused_login_ = role_->refused_login();
  if (!policy_.has_time()) return {.what = Do::give_up, .error = refused_login_->why};
  return connect_again(std::nullopt);
}

/// Begins another attempt, at `address_index_`. `error`: see Step.
Opening::Step Opening::connect_again(std::optional<Error> error) {
  role_.reset();
  fallback_reason_.clear();
  in_the_clear_ = false;
  awaits_first_byte_ = false;
  awaits_push_ = false;
  awaits_credentials_ = false;
  stage_ = OpeningStage::connecting;
  return {.what = Do::connect, .error = std::move(error)};
}

std::string Opening::fallback_reason() const {
  if (role_ == nullptr || in_the_clear_) return fallback_reason_;
  return role_->fallback_reason();
}

}  // namespace starttls::session
