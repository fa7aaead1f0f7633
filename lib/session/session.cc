#include "lib/session/session.h"

#include <utility>

namespace starttls::session {

Session::Session(const SessionContext& context, std::shared_ptr<const Service> service,
                 net::Stream::Ptr client, const net::SocketAddress& peer, std::string id)
    : env_(context),
      service_(std::move(service)),
      record_(env_.log, *service_, service_->metrics->of_worker(env_.worker), std::move(id),
              net::to_string(peer), net::Loop::precise_now()),
      client_(std::move(client), *this),
      prelude_(env_, service_, client_, peer, record_, *this, *this),
      close_(settings().timeouts.idle, env_.loop.now()),
      deadline_(env_.loop, [this] { on_deadline(); }),
      accepted_at_(env_.loop.now()) {
  client_.limit_input(Leg::kMaxEarlyInput);
}

void Session::start() {
  client_.start();
  prelude_.start();
}

void Session::refuse(const Error& error) {
  client_.start();
  fail(error);
}

void Session::stop() {
  stopping_ = true;
  if (to_reset_ != nullptr && phase_ == Phase::finishing) {
    act_on({CloseAction::reset});
  } else if (phase_ == Phase::relay) {
    end_relay({Errc::draining, "the time for draining is over"}, Side::downstream);
  } else {
    fail(Error{Errc::draining, "the proxy is stopping"});
  }
}

SessionStatus Session::status() const {
  return record_.status(name(phase_), state(), leg_facts(), net::Loop::precise_now());
}

// --- Phases and deadlines ------------------------------------------------------------------------

void Session::enter(Phase phase) {
  record_.log_phase(name(phase_), name(phase));
  phase_ = phase;
  close_.touch(env_.loop.now());
  arm_deadline();
  if (phase == Phase::relay) offer_bursts();
}

Deadline Session::deadline() const {
  using std::chrono::milliseconds;
  const auto since_greeting = net::Loop::precise_now() - record_.greeted_at();
  return deadline_of(
      phase_, settings().timeouts,
      {.now = env_.loop.now(),
       .accepted_at = accepted_at_,
       .greeted_at = env_.loop.now() - std::chrono::duration_cast<milliseconds>(since_greeting),
       .login_at = prelude_.login_at(),
       .awaits_header = prelude_.awaits_header(),
       .awaits_client_tls = awaits_client_tls(),
       .awaits_server = prelude_.awaits_server(),
       .resets = to_reset_ != nullptr});
}

void Session::arm_deadline() {
  if (const auto patience = deadline().patience) {
    deadline_.start(*patience);
  } else {
    deadline_.stop();
  }
}

void Session::on_deadline() {
  const Deadline expired = deadline();
  const Error error{Errc::timeout, std::string{expired.reason}};
  switch (expired.expiry) {
    case Expiry::nothing:
      return;
    case Expiry::fail:
      fail(error);
      return;
    case Expiry::server_silent:
      fail_on(Side::upstream, error);
      return;
    case Expiry::server_lost:
      prelude_.on_login_expired(expired.reason);
      return;
    case Expiry::handshake_failed:
      prelude_.on_client_handshake_failed(error);
      return;
    case Expiry::ask_close_policy:
      ask_close_policy();
      return;
  }
}

/// Does what the close policy says. Bytes that pass do not touch the timer: when it expires, the
/// policy knows how long no bytes have passed.
void Session::ask_close_policy() {
  const auto now = env_.loop.now();
  if (to_reset_ != nullptr) {
    act_on(close_.before_reset(to_reset_->queued() + to_reset_->stream().unacknowledged(), now));
  } else if (phase_ == Phase::finishing) {
    act_on(close_.after_our_end(waiting(), record_.outcome(), stopping_, now));
  } else if (relay_->server_has_ended()) {
    act_on(close_.after_servers_end(waiting() + client_.stream().unacknowledged(), now));
  } else {
    act_on(close_.in_relay(waiting(), now));
  }
}

/// Returns the number of bytes for either peer that wait for the kernel.
std::size_t Session::waiting() const {
  const auto of = [](const Leg& leg) { return leg.queued() + leg.stream().unsent(); };
  return of(client_) + (server_ == nullptr ? 0 : of(*server_));
}

// --- For the prelude -----------------------------------------------------------------------------

Leg& Session::keep_server(UpstreamConnection& connection) {
  adopt(connection);
  relay_.emplace(client_, *server_);
  return *server_;
}

/// Keeps the connection, even if it is of no use any more.
void Session::adopt(UpstreamConnection& connection) {
  server_ = std::move(connection.leg);
  record_.on_connected(std::move(connection.server), connection.connected_at, connection.warm);
  record_.on_reply(connection.last_reply);
  if (connection.login) record_.on_login(*connection.login);
}

std::unique_ptr<Leg> Session::release_server() {
  relay_.reset();
  return std::move(server_);
}

void Session::start_server_relay() {
  relay_->begin();
  server_->start_relay();
}

// --- Events of the legs --------------------------------------------------------------------------

/// True for events that no longer matter: the session is over, or another connection to the server
/// has replaced this one.
bool Session::ignores(const Leg& leg) const noexcept {
  return is_over() || (&leg != &client_ && &leg != server_.get());
}

void Session::on_leg_input(Leg& leg) {
  if (ignores(leg)) return;
  if (side_of(leg) == Side::upstream) {
    note_reply(leg.input(), true);
    prelude_.on_server_input();
  } else if (prelude_.look_for_header(client_.news())) {
    prelude_.on_client_input();  // before the greeting the client's bytes wait
  }
}

void Session::on_leg_data(Leg& leg, std::span<const std::byte> plaintext) {
  if (phase_ != Phase::relay) return;
  const Side side = side_of(leg);
  if (side == Side::downstream && !prelude_.look_for_header(as_text(plaintext))) return;
  close_.touch(env_.loop.now());
  pass(side, plaintext);
}

void Session::pass(Side from, std::span<const std::byte> plaintext) {
  Pipe& pipe = relay_->from(from);
  if (pipe.finished()) return;  // a broken pipe drops the bytes, and they do not count
  if (from == Side::upstream) note_reply(as_text(plaintext), !pipe.inside_line());
  pipe.on_data(plaintext);
  count(from, plaintext.size());
}

void Session::count(Side from, std::size_t bytes) noexcept {
  record_.traffic().passed(
      from == Side::downstream ? metrics::Direction::to_server : metrics::Direction::to_client,
      bytes);
}

/// Lets bursts pass unseen if nothing is encrypted.
void Session::offer_bursts() noexcept {
  if (!client_.is_clear() || !server_->is_clear()) return;
  client_.offer_bursts();
  server_->offer_bursts();
}

/// Passes a burst on. The last reply is in its last bytes, which come as data.
void Session::on_leg_burst(Leg& leg, std::size_t bytes) {
  const Side side = side_of(leg);
  if (phase_ != Phase::relay || (side == Side::downstream && prelude_.looks_for_header())) return;
  Pipe& pipe = relay_->from(side);
  if (!pipe.is_free()) return;
  const std::size_t passed = leg.splice_to(side == Side::downstream ? *server_ : client_, bytes);
  if (passed == 0) return;
  close_.touch(env_.loop.now());
  pipe.on_passed_unseen();
  count(side, passed);
}

/// Notes the server's last reply, if the protocol's replies have codes.
void Session::note_reply(std::string_view bytes, bool begins_line) {
  if (const auto find_code = service_->protocol->last_reply) {
    record_.on_reply(find_code(record_.last_reply(), bytes, begins_line));
  }
}

void Session::on_leg_drained(Leg& leg) {
  if (phase_ == Phase::finishing && to_reset_ == nullptr) arm_deadline();  // for the peer's FIN
  if (ignores(leg) || !relay_) return;
  relay_->to(side_of(leg)).on_drained();
  prelude_.on_drained();
}

void Session::on_leg_end(Leg& leg, LegEnd end, std::string_view how) {
  if (ignores(leg)) return;
  const Side side = side_of(leg);
  if (end == LegEnd::cut) record_.tally().truncated(side);
  const bool of_server = side == Side::upstream;
  if (phase_ == Phase::login && of_server && prelude_.goes_on_without_server(how)) return;
  if (of_server && relay_ &&
      prelude_.on_server_end(how, relay_->from(Side::downstream).finished())) {
    return;
  }
  if (end == LegEnd::cut) {
    on_cut(leg, Outcome::ok(), how);
    return;
  }
  if (!relay_) {
    if (!prelude_.wait_for_server()) on_cut(leg, Outcome::ok(), "");
    return;
  }
  if (phase_ == Phase::login && !of_server) {
    prelude_.on_client_end_in_login();
    return;
  }
  if (!of_server && phase_ == Phase::dialogue && awaits_client_tls()) {
    finish(Outcome::ok(), "");  // it can neither begin TLS now nor send anything else
    return;
  }
  relay_->from(side).on_end();
  // If the server leaves in the middle of a dialogue, the dialogue cannot go on.
  if (of_server && phase_ < Phase::relay) finish(Outcome::ok(), "");
  finish_if_both_ended();
  if (phase_ == Phase::relay && relay_->server_has_ended()) ask_close_policy();
}

void Session::on_leg_write_failed(Leg& leg, Error) {
  if (ignores(leg) || !relay_) return;
  relay_->to(side_of(leg)).on_broken();
  finish_if_both_ended();
}

void Session::on_leg_failed(Leg& leg, Error error) {
  if (ignores(leg)) return;
  const Side side = side_of(leg);
  if (side == Side::downstream && !leg.secured()) {
    prelude_.on_client_handshake_failed(error);
    return;
  }
  log_event("TLS failed", error, side, SessionRecord::Repetition::counted);
  if (side == Side::upstream && (phase_ == Phase::dialogue || phase_ == Phase::login)) {
    // With TLS 1.3 a server that wants a certificate of us says so only now (RFC 8446 §4.4.2.4).
    say_failure(error, Side::upstream);
    finish(error.code, error.reason);
    return;
  }
  on_cut(leg, error.code, error.reason);
}

// --- The end -------------------------------------------------------------------------------------

/// Ends the session after a leg was cut, or after the client has left early. `outcome` is the
/// session's, unless a line was cut in two.
void Session::on_cut(Leg& leg, Outcome outcome, std::string_view how) {
  if (!relay_) {
    const std::string_view when =
        prelude_.has_greeted() ? "before the server was reached again" : "before it was greeted";
    const std::string reason = "the client left " + std::string{when} +
                               (how.empty() ? std::string{} : ": " + std::string{how});
    // Port checks do this all the time.
    record_.log_event({"session failed", Side::downstream, record_.client(), state(),
                       SessionRecord::Repetition::written, log::Level::info},
                      {Errc::closed, reason});
    finish(Errc::closed, reason);
    return;
  }
  const Side side = side_of(leg);
  const std::string_view peer = side == Side::downstream ? "the client" : "the server";
  const std::string reason = std::string{peer} + "'s connection was cut: " + std::string{how};
  if (!relay_->from(side).inside_line()) {
    finish(outcome, reason);
    return;
  }
  if (outcome == Outcome::ok()) {
    log_event("session failed", {Errc::closed, reason, std::string{how}}, side,
              SessionRecord::Repetition::counted);
    outcome = Outcome::truncated();
  }
  record_.set_outcome(outcome, reason);
  to_reset_ = side == Side::downstream ? server_.get() : &client_;
  leg.finish();
  enter(Phase::finishing);
  ask_close_policy();
}

void Session::finish_if_both_ended() {
  if (!is_over() && relay_->finished()) finish(Outcome::ok(), "");
}

/// True if no words may be sent to the client: TLS is due from the first byte, and is not up.
bool Session::is_mute() const noexcept {
  return settings().downstream.tls == TlsMode::implicit && !client_.secured();
}

void Session::say_failure(const Error& error, Side side) {
  if (phase_ == Phase::relay || is_mute()) return;
  // The server's own refusal passes if TLS was not wanted, or if the whole leg has TLS.
  std::string words =
      error.code == Errc::greeting_refused ? prelude_.link().refusal() : std::string{};
  if (words.empty()) {
    words = proto::failure_reply(*service_->protocol, error, service_->own_name->text(),
                                 side == Side::upstream ? prelude_.link().server_name() : "");
  }
  say(client_, words, record_.traffic());
}

void Session::fail(const Error& error) {
  fail_on(is_opening() ? Side::upstream : Side::downstream, error);
}

void Session::fail_on(Side side, const Error& error) {
  if (is_over()) return;
  // An error of the client or of the proxy is not the server's, even if a connection to it is open.
  const Party party = concerns(error.code);
  const bool is_servers =
      party == Party::server || (party == Party::either_peer && side == Side::upstream);
  const bool on_server_leg = is_servers || (is_opening() && party == Party::proxy);
  const bool unserved = phase_ <= Phase::proxy_header;
  log_event("session failed", error, on_server_leg ? Side::upstream : Side::downstream,
            SessionRecord::Repetition::counted);
  say_failure(error, is_servers ? Side::upstream : Side::downstream);
  finish(error.code, error.reason);
  if (unserved && phase_ == Phase::finishing && !env_.owner.may_linger(*this)) end();
}

/// Ends a session in which no words can be said, because the bytes are opaque.
void Session::end_relay(const Error& error, Side side) {
  log_event("session failed", error, side, SessionRecord::Repetition::counted);
  finish(error.code, error.reason);
}

void Session::finish(Outcome outcome, std::string reason) {
  if (is_over()) return;
  record_.set_outcome(outcome, std::move(reason));
  if (auto abandoned = prelude_.abandon()) adopt(*abandoned);
  enter(Phase::finishing);
  client_.finish();
  if (server_ != nullptr) server_->finish();
  end_if_finished();
}

void Session::act_on(const CloseStep& step) {
  switch (step.action) {
    case CloseAction::wait:
      deadline_.start(step.after);
      return;
    case CloseAction::reset:
      to_reset_->reset();
      end();
      return;
    case CloseAction::close:
    case CloseAction::time_out:
      break;
  }
  const bool late = step.action == CloseAction::time_out;
  if (!is_over()) {
    if (late) {
      end_relay({Errc::timeout, "idle for too long"}, Side::downstream);
    } else {
      finish(Outcome::ok(), "");
    }
    return;
  }
  if (late) {
    const Error error{Errc::timeout, "a peer did not accept the last bytes in time"};
    log_event("session failed", error, client_.finished() ? Side::upstream : Side::downstream,
              SessionRecord::Repetition::counted);
    record_.set_outcome(error.code, error.reason);
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
  const auto now = net::Loop::precise_now();
  record_.end(now);
  env_.owner.on_session_ended(*this);
  record_.log_end(prelude_.link().target().upstream(), leg_facts(), now);
}

LegFacts Session::leg_facts() const {
  const auto of = [](const Leg& leg) {
    return leg.secured() ? std::optional{leg.facts()} : std::nullopt;
  };
  return {.downstream = of(client_),
          .upstream = server_ == nullptr ? std::nullopt : of(*server_),
          .sni = client_.wanted_name(),
          .client_certificate =
              client_.secured() ? client_.client_facts().subject : std::string_view{}};
}

std::string_view Session::state() const noexcept {
  const auto state = prelude_.state();
  return state.empty() ? name(phase_) : state;
}

void Session::log_event(std::string_view message, const Error& error, Side side,
                        SessionRecord::Repetition repetition) {
  if (!record_.writes_events()) return;
  const std::string peer =
      side == Side::upstream ? to_string(prelude_.link().address()) : record_.client();
  record_.log_event({message, side, peer, state(), repetition}, error);
}

}  // namespace starttls::session
