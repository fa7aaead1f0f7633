#include "lib/session/session.h"

#include <algorithm>
#include <utility>

#include "lib/session/policy.h"

namespace starttls::session {
namespace {

/// Of the client or our own: no server has to do with it, even one that we talk to at that moment.
bool is_no_servers(Errc code) noexcept {
  return code == Errc::client_protocol || code == Errc::too_many_errors ||
         code == Errc::tls_on_clear_port || code == Errc::limit || code == Errc::not_allowed ||
         code == Errc::draining;
}

/// How often we look whether the kernel has delivered what a reset would destroy.
constexpr std::chrono::milliseconds kDeliveryPoll{10};

/// How long a client may take to end once the server has, and everything is delivered.
constexpr std::chrono::seconds kClientsEnd{60};
/// How often we look whether everything is.
constexpr std::chrono::milliseconds kEndPoll{1000};

}  // namespace

Session::Session(SessionContext environment, std::shared_ptr<const Service> service,
                 net::Stream::Ptr client, const net::SocketAddress& peer, std::string id)
    : env_(environment),
      service_(std::move(service)),
      id_(std::move(id)),
      client_name_(net::to_string(peer)),
      deadline_(env_.loop, [this] { on_deadline(); }),
      client_(std::move(client), *this),
      identity_(service_->config, peer),
      target_(service_),
      accepted_at_(env_.loop.now()),
      last_activity_(accepted_at_),
      born_at_(net::Loop::precise_now()) {
  client_.limit_input(Leg::kMaxEarlyInput);
  env_.metrics.session_opened();
}

void Session::start() {
  client_.start();
  if (!identity_.awaits_header() && !admit()) return;
  if (may_begin()) {
    begin();
  } else {
    enter(Phase::proxy_header);
  }
}

void Session::refuse(const Error& error) {
  client_.start();
  fail(error);
}

void Session::stop() {
  stopping_ = true;
  if (phase_ == Phase::finishing && to_reset_ != nullptr) {
    to_reset_->reset();
    end();
  } else if (phase_ == Phase::relay) {
    finish(Errc::draining, "the time to drain is over");
  } else {
    fail(Error{Errc::draining, "the proxy is stopping"});
  }
}

// --- Phases and deadlines ------------------------------------------------------------------------

void Session::enter(Phase phase) {
  if (env_.log.enabled(log::Level::debug)) {
    env_.log.debug("phase", {{"session", id_},
                             {"service", service_->config.name},
                             {"from", kPhaseNames[static_cast<std::size_t>(phase_)]},
                             {"to", kPhaseNames[static_cast<std::size_t>(phase)]}});
  }
  phase_ = phase;
  arm_deadline();
}

std::chrono::milliseconds Session::prelude_left() const {
  const auto end = accepted_at_ + service_->config.timeouts.prelude;
  return std::max(std::chrono::milliseconds{0}, end - env_.loop.now());
}

void Session::arm_deadline() {
  const auto& timeouts = service_->config.timeouts;
  switch (phase_) {
    case Phase::accepted:
    case Phase::connecting:
    case Phase::upstream_handshake:
    case Phase::upstream_prelude:
      deadline_.stop();  // the opener has its own
      return;
    case Phase::proxy_header:
      deadline_.start(identity_.awaits_header() ? prelude_left()
                                                : std::min(timeouts.handshake, prelude_left()));
      return;
    case Phase::downstream_handshake:
      deadline_.start(std::min(timeouts.handshake, prelude_left()));
      return;
    case Phase::downstream_starttls:
      deadline_.start(timeouts.handshake);
      return;
    case Phase::dialogue:
      // It is as long as that of a command, and began earlier.
      deadline_.start(awaits_client_tls() ? client_tls_left() : timeouts.command);
      return;
    case Phase::relay:
      last_activity_ = env_.loop.now();
      deadline_.start(timeouts.idle);
      return;
    case Phase::finishing:
      deadline_.start(to_reset_ == nullptr ? kLinger : kDeliveryPoll);
      return;
    case Phase::ended:
      deadline_.stop();
      return;
  }
}

void Session::on_deadline() {
  switch (phase_) {
    case Phase::proxy_header:
      if (identity_.awaits_header()) {
        fail(Error{Errc::timeout, "no PROXY header in time"});
        return;
      }
      [[fallthrough]];
    case Phase::downstream_handshake:
    case Phase::downstream_starttls:
      on_client_handshake_failed(
          Error{Errc::timeout, "the TLS handshake with the client timed out"});
      return;
    case Phase::accepted:
    case Phase::connecting:
    case Phase::upstream_handshake:
    case Phase::upstream_prelude:
      return;
    case Phase::dialogue:
      fail(Error{Errc::timeout, awaits_client_tls() ? "the client did not begin TLS in time"
                                                    : "no command in time"});
      return;
    case Phase::relay:
      if (server_has_ended()) {
        wait_for_clients_end();
      } else {
        end_if_idle();
      }
      return;
    case Phase::finishing:
      if (to_reset_ != nullptr) {
        reset_when_delivered();
      } else {
        end_when_taken();
      }
      return;
    case Phase::ended:
      return;
  }
}

/// In mode starttls nothing of the client has reached the server yet, so no server ends a client
/// that only says NOOP.
bool Session::awaits_client_tls() const noexcept {
  return service_->config.downstream.tls == TlsMode::starttls && !client_.secured();
}

std::chrono::milliseconds Session::client_tls_left() const {
  const auto since =
      std::chrono::duration_cast<std::chrono::milliseconds>(net::Loop::precise_now() - greeted_at_);
  return std::max(std::chrono::milliseconds{0}, service_->config.timeouts.command - since);
}

/// Bytes do not touch the timer: when it expires, it asks how long it has been quiet.
void Session::end_if_idle() {
  const auto quiet = quiet_for(waiting());
  const auto idle = service_->config.timeouts.idle;
  if (quiet < idle) {
    deadline_.start(idle - quiet);
  } else {
    finish(Errc::timeout, "idle");
  }
}

/// How long neither peer has sent anything or taken anything of what is `left`.
std::chrono::milliseconds Session::quiet_for(std::size_t left) {
  if (std::exchange(last_unsent_, left) != left) last_activity_ = env_.loop.now();
  return env_.loop.now() - last_activity_;
}

/// The server has ended, and nothing but the client's own end is missing. A slow reader first gets
/// everything; then the client has a fixed time, whatever it still says.
void Session::wait_for_clients_end() {
  const std::size_t left = waiting() + client_.stream().unacknowledged();
  const auto quiet = quiet_for(left);
  if (left > 0 && quiet >= service_->config.timeouts.idle) {
    finish(Errc::timeout, "idle");
    return;
  }
  if (left == 0 && !delivered_at_) delivered_at_ = env_.loop.now();
  if (delivered_at_ && env_.loop.now() - *delivered_at_ >= kClientsEnd) {
    finish(Outcome::ok(), "");
    return;
  }
  deadline_.start(kEndPoll);
}

/// Bytes for either peer that wait for the kernel; each that is taken changes it.
std::size_t Session::waiting() const {
  const auto of = [](const Leg& leg) { return leg.queued() + leg.stream().unsent(); };
  return of(client_) + (server_ == nullptr ? 0 : of(*server_));
}

// --- Events of the legs --------------------------------------------------------------------------

void Session::on_leg_input(Leg& leg) {
  if (phase_ >= Phase::finishing) return;
  if (is_client(leg)) {
    if (!look_for_header(client_.news())) return;
    run_client_input();  // before the greeting its octets wait
  } else {
    run_server_input();
  }
}

void Session::on_leg_data(Leg& leg, std::span<const std::byte> plaintext) {
  if (phase_ != Phase::relay) return;
  if (is_client(leg) && !look_for_header(as_text(plaintext))) return;
  last_activity_ = env_.loop.now();
  Pipe& pipe = pipe_from(leg);
  const auto before = pipe.octets();
  pipe.on_data(plaintext);
  // What a broken pipe drops does not count.
  env_.metrics.bytes(is_client(leg) ? metrics::Direction::to_server : metrics::Direction::to_client,
                     static_cast<std::size_t>(pipe.octets() - before));
}

void Session::on_leg_drained(Leg& leg) {
  if (phase_ == Phase::finishing && to_reset_ == nullptr) arm_deadline();  // for the peer's FIN
  if (phase_ >= Phase::finishing || !to_server_) return;
  pipe_to(leg).on_drained();
  balance();
}

void Session::on_leg_end(Leg& leg, LegEnd end, std::string_view how) {
  if (phase_ >= Phase::finishing) return;
  if (end == LegEnd::cut) {
    env_.metrics.truncated(side_of(leg));
    on_cut(leg, Outcome::ok(), how);
    return;
  }
  if (is_client(leg) && before_greeting()) {
    client_ended_ = true;
    // Half a client that has said something wants an answer; one that said nothing has left.
    if (client_.input().empty() || phase_ == Phase::proxy_header) {
      finish(Errc::closed, "the client left before it was greeted");
    }
    return;
  }
  pipe_from(leg).on_end();
  // A server that leaves in the middle of a dialogue leaves nothing to talk about.
  if (!is_client(leg) && phase_ < Phase::relay) finish(Outcome::ok(), "");
  finish_if_both_ended();
  if (phase_ == Phase::relay && server_has_ended()) wait_for_clients_end();
}

/// `outcome`: what it is called where nothing was lost in the middle of a line.
void Session::on_cut(Leg& leg, Outcome outcome, std::string_view how) {
  const std::string_view side = is_client(leg) ? "the client" : "the server";
  if (before_greeting()) {
    finish(Errc::closed, "the client left before it was greeted: " + std::string{how});
    return;
  }
  Leg& other = is_client(leg) ? *server_ : client_;
  const std::string reason = std::string{side} + "'s connection was cut: " + std::string{how};
  if (!pipe_from(leg).inside_line()) {
    finish(outcome, reason);
    return;
  }
  outcome_ = outcome == Outcome::ok() ? Outcome::truncated() : outcome;
  reason_ = reason;
  to_reset_ = &other;
  leg.finish();
  enter(Phase::finishing);
  reset_when_delivered();
}

void Session::on_leg_write_failed(Leg& leg, Error) {
  if (phase_ >= Phase::finishing || !to_server_) return;
  pipe_to(leg).on_broken();
  finish_if_both_ended();
}

void Session::on_leg_failed(Leg& leg, Error error) {
  if (phase_ >= Phase::finishing) return;
  if (is_client(leg) && !leg.secured()) {
    on_client_handshake_failed(error);
    return;
  }
  log_event(log::Level::warn, "TLS failed", error, side_of(leg));
  if (!is_client(leg) && phase_ == Phase::dialogue) {
    // With TLS 1.3 a server that wants a certificate of us says so only now (RFC 8446 §4.4.2.4).
    send_to_client(proto::failure_reply(*service_->protocol, error, service_->own_name->text()));
    finish(error.code, error.reason);
    return;
  }
  on_cut(leg, error.code, error.reason);
}

void Session::on_leg_finished(Leg&) {
  end_if_finished();
}

void Session::finish_if_both_ended() {
  if (phase_ < Phase::finishing && to_server_->finished() && to_client_->finished()) {
    finish(Outcome::ok(), "");
  }
}

// --- The end -------------------------------------------------------------------------------------

/// True if nothing may be said to the client: TLS is due from the first byte, and is not there.
bool Session::is_mute() const noexcept {
  return service_->config.downstream.tls == TlsMode::implicit && !client_.secured();
}

void Session::fail(const Error& error) {
  if (phase_ >= Phase::finishing) return;
  const Side side = before_greeting() && phase_ >= Phase::connecting && !is_no_servers(error.code)
                        ? Side::upstream
                        : Side::downstream;
  const bool unserved = phase_ <= Phase::proxy_header;
  log_event(log::Level::warn, "session failed", error, side);
  if (phase_ != Phase::relay && !is_mute()) {
    // Where nothing was to be secured, or all of the leg is, the server's own refusal may pass.
    const bool verbatim =
        error.code == Errc::greeting_refused && opener_ != nullptr && !opener_->refusal().empty();
    send_to_client(
        verbatim ? std::string{opener_->refusal()}
                 : proto::failure_reply(*service_->protocol, error, service_->own_name->text()));
  }
  finish(error.code, error.reason);
  if (unserved && phase_ == Phase::finishing && !env_.owner.may_linger(*this)) end();
}

void Session::finish(Outcome outcome, std::string reason) {
  if (phase_ >= Phase::finishing) return;
  outcome_ = outcome;
  reason_ = std::move(reason);
  if (opener_ != nullptr) {
    UpstreamConnection opened = opener_->take(*this);
    adopt(opened);
  }
  last_activity_ = env_.loop.now();
  enter(Phase::finishing);
  client_.finish();
  if (server_ != nullptr) server_->finish();
  end_if_finished();
}

/// RST makes the peer's kernel forget what it was sent and has not acknowledged, so that comes
/// first.
void Session::reset_when_delivered() {
  const std::size_t left = to_reset_->queued() + to_reset_->stream().unacknowledged();
  // Slow is not gone: who takes something within that time has as much again.
  if (std::exchange(last_unsent_, left) != left) last_activity_ = env_.loop.now();
  const bool patient = env_.loop.now() < last_activity_ + kLinger;
  if (left > 0 && patient) {
    arm_deadline();
    return;
  }
  to_reset_->reset();
  end();
}

/// Our FIN stands behind what waits for the kernel: of a session that was well that is still its
/// reader's, as long as he would have had in the relay.
void Session::end_when_taken() {
  const std::size_t left = waiting();
  if (left > 0 && outcome_ == Outcome::ok() && !stopping_) {
    if (std::exchange(last_unsent_, left) != left) last_activity_ = env_.loop.now();
    const auto quiet = env_.loop.now() - last_activity_;
    const auto idle = service_->config.timeouts.idle;
    if (quiet < idle) {
      deadline_.start(std::min<std::chrono::milliseconds>(kLinger, idle - quiet));
      return;
    }
  }
  if (left > 0 && outcome_ == Outcome::ok()) {
    outcome_ = Errc::timeout;
    reason_ = "the last octets were not taken";
  }
  end();
}

void Session::end_if_finished() {
  if (phase_ != Phase::finishing || to_reset_ != nullptr) return;
  if (client_.finished() && (server_ == nullptr || server_->finished())) end();
}

void Session::end() {
  if (phase_ == Phase::ended) return;
  enter(Phase::ended);
  env_.metrics.session_ended(outcome_, net::Loop::precise_now() - born_at_);
  log_session();
  env_.owner.on_session_ended(*this);
}

}  // namespace starttls::session
