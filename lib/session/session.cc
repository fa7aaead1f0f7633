#include "lib/session/session.h"

#include <algorithm>
#include <utility>

#include "lib/proto/clear_port.h"
#include "lib/session/policy.h"

namespace starttls::session {
namespace {

using std::chrono::milliseconds;

/// True if the error is the client's or our own, even if we talk to a server at that moment.
bool is_no_servers(Errc code) noexcept {
  return code == Errc::client_protocol || code == Errc::too_many_errors ||
         code == Errc::tls_on_clear_port || code == Errc::limit || code == Errc::not_allowed ||
         code == Errc::draining;
}

}  // namespace

Session::Session(SessionContext context, std::shared_ptr<const Service> service,
                 net::Stream::Ptr client, const net::SocketAddress& peer, std::string id)
    : env_(context),
      service_(std::move(service)),
      record_(env_.log, *service_, env_.metrics, std::move(id), net::to_string(peer),
              net::Loop::precise_now()),
      admission_(settings(), peer, env_.clients),
      client_(std::move(client), *this),
      client_handshake_(env_.loop, *service_, env_.metrics),
      link_(env_, service_, client_, admission_.identity(), *this, *this),
      close_(settings().timeouts.idle, env_.loop.now()),
      deadline_(env_.loop, [this] { on_deadline(); }),
      accepted_at_(env_.loop.now()) {
  client_.limit_input(Leg::kMaxEarlyInput);
}

void Session::start() {
  client_.start();
  const auto admitted = admission_.begin();
  if (!admitted) {
    fail(admitted.error());
  } else if (*admitted == Admitted::yes) {
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
  if (to_reset_ != nullptr && phase_ == Phase::finishing) {
    act_on({CloseAction::reset});
  } else if (phase_ == Phase::relay) {
    finish(Errc::draining, "the time to drain is over");
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
}

Deadline Session::deadline() const {
  const auto since_greeting = net::Loop::precise_now() - record_.greeted_at();
  return deadline_of(
      phase_, settings().timeouts,
      {.now = env_.loop.now(),
       .accepted_at = accepted_at_,
       .greeted_at = env_.loop.now() - std::chrono::duration_cast<milliseconds>(since_greeting),
       .awaits_header = admission_.awaits_header(),
       .awaits_client_tls = settings().downstream.tls == TlsMode::starttls && !client_.secured(),
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
    case Expiry::handshake_failed:
      on_client_handshake_failed(error);
      return;
    case Expiry::ask_close_policy:
      ask_close_policy();
      return;
  }
}

/// Bytes that pass do not touch the timer: when it expires, the policy knows how long it has been
/// quiet.
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

// --- Until the client is greeted -----------------------------------------------------------------

/// Looks at the bytes that have just come, if a header is due or forbidden. False: they were no
/// more than that.
bool Session::look_for_header(std::string_view news) {
  if (!admission_.is_watching() || client_.secured()) return true;
  const auto& identity = admission_.identity();
  const bool was_conveyed = identity.is_conveyed();
  const auto step = admission_.look(news);
  if (!was_conveyed && identity.is_conveyed()) {
    record_.on_conveyed(net::to_string(net::socket_address(*identity.address())),
                        net::to_string(net::socket_address(*identity.destination())));
  }
  if (!step) {
    fail(step.error());
    return false;
  }
  if (step->header > 0) client_.consume(step->header);
  if (phase_ != Phase::proxy_header) return true;
  if (step->admitted == Admitted::yes) begin();
  return false;
}

void Session::begin() {
  if (settings().downstream.tls != TlsMode::implicit) {
    connect();
    return;
  }
  auto engine = client_handshake_.begin();
  if (!engine) {
    fail(engine.error());
    return;
  }
  enter(Phase::downstream_handshake);
  client_.start_implicit_tls(std::move(*engine), client_handshake_.lane());
}

void Session::connect() {
  if (const auto settled = link_.settle(); !settled) {
    fail(settled.error());
  } else {
    link_.open(give_up_at());
  }
}

/// All that comes before the greeting shares one time; a fresh connection has as much again.
milliseconds Session::give_up_at() const {
  return (dialogue_ == nullptr ? accepted_at_ : env_.loop.now()) + settings().timeouts.prelude;
}

void Session::on_opening(OpeningStage stage) {
  constexpr Phase kByStage[] = {Phase::connecting, Phase::upstream_handshake,
                                Phase::upstream_prelude};
  enter(kByStage[static_cast<std::size_t>(stage)]);
}

void Session::on_attempt_failed(const Error& error) {
  log_event("upstream failed, trying the next address", error, Side::upstream);
}

void Session::on_not_linked(const Error& error) {
  fail(error);
}

/// Keeps the connection, whether it is of use or not.
void Session::adopt(UpstreamConnection& connection) {
  server_ = std::move(connection.leg);
  record_.on_connected(std::move(connection.server), connection.connected_at, connection.warm);
}

void Session::on_linked(UpstreamConnection connection) {
  adopt(connection);
  relay_.emplace(client_, *server_);
  fell_back_ = !connection.fallback_reason.empty();
  if (fell_back_) {
    env_.metrics.plaintext_fallback(Side::upstream);
    log_event("continuing in the clear", Error{Errc::tls_not_offered, connection.fallback_reason},
              Side::upstream, SessionRecord::Repetition::written);
  }
  if (relays_from_first_byte(settings().downstream.tls, link_.target().upstream().tls)) {
    record_.on_greeted(connection.connected_at);
    start_plain_relay();
  } else if (dialogue_ == nullptr) {
    greet_client(connection.greeting);
  } else if (const auto replaced = dialogue_->replace_server(*server_); !replaced) {
    fail(replaced.error());
  } else {
    resume_dialogue();
  }
}

void Session::greet_client(std::string_view greeting) {
  // Such a client understands no greeting (D7).
  if (!client_.secured() && proto::begins_with_tls(client_.input())) {
    fail(proto::tls_on_clear_port());
    return;
  }
  record_.on_greeted(net::Loop::precise_now());
  client_.limit_input(Leg::kMaxInput);
  const auto mode = effective_mode(link_.target().upstream().tls, server_->secured());
  dialogue_ = std::make_unique<Dialogue>(
      service_->protocol->downstream(role_settings(link_.target(), mode)), client_, *server_,
      record_.traffic());
  enter(Phase::dialogue);
  if (const auto begun = dialogue_->begin(greeting); !begun) {
    fail(begun.error());
  } else {
    hear_both();
  }
}

void Session::start_plain_relay() {
  // Before the relay, so that nothing is looked at twice.
  const std::string early{client_.input()};
  client_.limit_input(Leg::kMaxInput);
  client_.consume(early.size());
  enter(Phase::relay);
  server_->start_relay();
  pass(Side::downstream, std::as_bytes(std::span{early}));
  client_.start_relay();
  if (client_ended_) relay_->from(Side::downstream).on_end();
}

// --- While the downstream role works between the legs --------------------------------------------

/// After the client's handshake, or with a fresh connection to the server.
void Session::resume_dialogue() {
  enter(Phase::dialogue);
  if (const auto resumed = dialogue_->resume(); !resumed) {
    fail(resumed.error());
  } else {
    hear_both();
  }
}

void Session::hear_both() {
  if (!server_->input().empty()) run_server_input();
  run_client_input();
}

void Session::run_client_input() {
  if (phase_ != Phase::dialogue) return;
  if (has_refused_tls() && server_->stream().is_over()) {
    try_again_in_the_clear();
    return;
  }
  const auto commands = dialogue_->commands();
  const auto next = dialogue_->on_client_input();
  if (dialogue_->commands() != commands) arm_deadline();  // a complete command
  if (!goes_on(next, Side::downstream)) return;
  if (*next == Dialogue::Next::commit) commit();
  // A half-closed client's end travels after its last whole line; the rest is no command.
  if (client_ended_ && !is_over()) relay_->from(Side::downstream).on_end();
  if (dialogue_ != nullptr && !is_over()) dialogue_->balance();
}

void Session::run_server_input() {
  if (dialogue_ == nullptr || is_over()) return;
  if (phase_ == Phase::downstream_starttls) return;  // it waits until the client can hear it
  const auto next = dialogue_->on_server_input();
  if (!goes_on(next, Side::upstream)) return;
  if (*next != Dialogue::Next::relay) {
    dialogue_->balance();
    return;
  }
  dialogue_.reset();
  relay_->begin();
  server_->start_relay();
}

/// False: the dialogue is over, or interrupted by a handshake.
bool Session::goes_on(const Result<Dialogue::Next>& next, Side side) {
  if (is_over()) return false;  // a write has failed
  if (!next) {
    if (next.error().code == Errc::attack) env_.metrics.attacked(side, next.error().attack);
    fail(next.error());
    return false;
  }
  if (*next == Dialogue::Next::start_tls) start_downstream_tls();
  if (*next == Dialogue::Next::finish) finish(Outcome::ok(), "");
  return *next != Dialogue::Next::start_tls && *next != Dialogue::Next::finish;
}

void Session::commit() {
  if (settings().downstream.tls == TlsMode::opportunistic && !client_.secured()) {
    env_.metrics.plaintext_fallback(Side::downstream);
  }
  enter(Phase::relay);
  client_.start_relay();
  run_server_input();
}

void Session::start_downstream_tls() {
  auto engine = client_handshake_.begin();
  if (!engine) {
    fail(engine.error());
    return;
  }
  const std::string go_ahead = dialogue_->go_ahead();
  enter(Phase::downstream_starttls);
  auto started = client_.start_tls(go_ahead, std::move(*engine), client_handshake_.lane());
  if (started) {
    record_.traffic().passed(metrics::Direction::to_client, go_ahead.size());
    return;
  }
  env_.metrics.attacked(Side::downstream, started.error().attack);
  const Error error = dialogue_->refuse_injection(std::move(started.error()));
  log_event("session failed", error, Side::downstream);
  finish(error.code, error.reason);
}

/// After a handshake that failed nothing more goes out, and certainly not in the clear. A refused
/// certificate is another matter: TLS is up, so the client can trust the words, and only the client
/// reads them (RFC 3207 §4.1).
void Session::on_client_handshake_failed(const Error& error) {
  client_handshake_.on_failed(error.code);
  fail(error);
}

/// True if the server has heard nothing but our request for TLS, and has refused it.
bool Session::has_refused_tls() const noexcept {
  return fell_back_ && phase_ == Phase::dialogue && !dialogue_->server_has_heard();
}

/// The server has hung up after its refusal. The client does not notice (D1).
void Session::try_again_in_the_clear() {
  relay_.reset();
  link_.replace_in_the_clear(std::move(server_), give_up_at());
}

// --- Events of the legs --------------------------------------------------------------------------

void Session::on_leg_input(Leg& leg) {
  if (is_over()) return;
  if (side_of(leg) == Side::upstream) {
    run_server_input();
  } else if (look_for_header(client_.news())) {
    run_client_input();  // before the greeting its bytes wait
  }
}

void Session::on_leg_data(Leg& leg, std::span<const std::byte> plaintext) {
  if (phase_ != Phase::relay) return;
  const Side side = side_of(leg);
  if (side == Side::downstream && !look_for_header(as_text(plaintext))) return;
  close_.touch(env_.loop.now());
  pass(side, plaintext);
}

void Session::pass(Side from, std::span<const std::byte> plaintext) {
  Pipe& pipe = relay_->from(from);
  if (pipe.finished()) return;  // a broken pipe drops the bytes, and they do not count
  pipe.on_data(plaintext);
  record_.traffic().passed(
      from == Side::downstream ? metrics::Direction::to_server : metrics::Direction::to_client,
      plaintext.size());
}

void Session::on_leg_secured(Leg& leg) {
  if (side_of(leg) == Side::upstream) return;  // the link's business
  if (const auto accepted = client_handshake_.on_secured(client_); !accepted) {
    on_client_handshake_failed(accepted.error());
  } else if (phase_ == Phase::downstream_handshake) {
    connect();
  } else if (phase_ == Phase::downstream_starttls && dialogue_->server_has_heard()) {
    relay_.reset();
    link_.replace(std::move(server_), give_up_at());
  } else if (phase_ == Phase::downstream_starttls) {
    resume_dialogue();
  }
}

void Session::on_leg_drained(Leg& leg) {
  if (phase_ == Phase::finishing && to_reset_ == nullptr) arm_deadline();  // for the peer's FIN
  if (is_over() || !relay_) return;
  relay_->to(side_of(leg)).on_drained();
  if (dialogue_ != nullptr) dialogue_->balance();
}

void Session::on_leg_end(Leg& leg, LegEnd end, std::string_view how) {
  if (is_over()) return;
  const Side side = side_of(leg);
  if (end == LegEnd::cut) {
    env_.metrics.truncated(side);
    on_cut(leg, Outcome::ok(), how);
    return;
  }
  if (!relay_) {
    client_ended_ = true;
    // A half-closed client that has said something wants an answer; one that said nothing has left.
    if (client_.input().empty() || phase_ == Phase::proxy_header) on_cut(leg, Outcome::ok(), "");
    return;
  }
  if (side == Side::upstream && has_refused_tls()) {
    try_again_in_the_clear();
    return;
  }
  relay_->from(side).on_end();
  // A server that leaves in the middle of a dialogue leaves nothing to talk about.
  if (side == Side::upstream && phase_ < Phase::relay) finish(Outcome::ok(), "");
  finish_if_both_ended();
  if (phase_ == Phase::relay && relay_->server_has_ended()) ask_close_policy();
}

void Session::on_leg_write_failed(Leg& leg, Error) {
  if (is_over() || !relay_) return;
  relay_->to(side_of(leg)).on_broken();
  finish_if_both_ended();
}

void Session::on_leg_failed(Leg& leg, Error error) {
  if (is_over()) return;
  const Side side = side_of(leg);
  if (side == Side::downstream && !leg.secured()) {
    on_client_handshake_failed(error);
    return;
  }
  log_event("TLS failed", error, side);
  if (side == Side::upstream && phase_ == Phase::dialogue) {
    // With TLS 1.3 a server that wants a certificate of us says so only now (RFC 8446 §4.4.2.4).
    say_failure(error);
    finish(error.code, error.reason);
    return;
  }
  on_cut(leg, error.code, error.reason);
}

void Session::on_leg_finished(Leg&) {
  end_if_finished();
}

// --- The end -------------------------------------------------------------------------------------

/// A leg has ended without a word. `outcome` is the session's, if no line was cut in two.
void Session::on_cut(Leg& leg, Outcome outcome, std::string_view how) {
  if (!relay_) {
    const std::string_view when =
        dialogue_ == nullptr ? "before it was greeted" : "before the server was reached again";
    finish(Errc::closed, "the client left " + std::string{when} +
                             (how.empty() ? std::string{} : ": " + std::string{how}));
    return;
  }
  const Side side = side_of(leg);
  const std::string_view peer = side == Side::downstream ? "the client" : "the server";
  const std::string reason = std::string{peer} + "'s connection was cut: " + std::string{how};
  if (!relay_->from(side).inside_line()) {
    finish(outcome, reason);
    return;
  }
  record_.set_outcome(outcome == Outcome::ok() ? Outcome::truncated() : outcome, reason);
  to_reset_ = side == Side::downstream ? server_.get() : &client_;
  leg.finish();
  enter(Phase::finishing);
  ask_close_policy();
}

void Session::finish_if_both_ended() {
  if (!is_over() && relay_->finished()) finish(Outcome::ok(), "");
}

/// True if nothing may be said to the client: TLS is due from the first byte, and is not up.
bool Session::is_mute() const noexcept {
  return settings().downstream.tls == TlsMode::implicit && !client_.secured();
}

void Session::say_failure(const Error& error) {
  if (phase_ == Phase::relay || is_mute()) return;
  // If nothing was to be secured, or all of the leg is, the server's own refusal passes.
  std::string words = error.code == Errc::greeting_refused ? link_.refusal() : std::string{};
  if (words.empty()) {
    words = proto::failure_reply(*service_->protocol, error, service_->own_name->text());
  }
  say(client_, words, record_.traffic());
}

void Session::fail(const Error& error) {
  if (is_over()) return;
  const bool is_servers = is_opening() && !is_no_servers(error.code);
  const bool unserved = phase_ <= Phase::proxy_header;
  log_event("session failed", error, is_servers ? Side::upstream : Side::downstream);
  say_failure(error);
  finish(error.code, error.reason);
  if (unserved && phase_ == Phase::finishing && !env_.owner.may_linger(*this)) end();
}

void Session::finish(Outcome outcome, std::string reason) {
  if (is_over()) return;
  record_.set_outcome(outcome, std::move(reason));
  if (auto abandoned = link_.abandon()) adopt(*abandoned);
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
    finish(late ? Outcome{Errc::timeout} : Outcome::ok(), late ? "idle" : "");
    return;
  }
  if (late) record_.set_outcome(Errc::timeout, "the last bytes were not taken");
  end();
}

void Session::end_if_finished() {
  if (phase_ != Phase::finishing || to_reset_ != nullptr) return;
  if (client_.finished() && (server_ == nullptr || server_->finished())) end();
}

void Session::end() {
  if (phase_ == Phase::ended) return;
  enter(Phase::ended);
  record_.log_end(link_.target().upstream(), leg_facts(), net::Loop::precise_now());
  env_.owner.on_session_ended(*this);
}

LegFacts Session::leg_facts() const {
  const auto of = [](const Leg& leg) {
    return leg.secured() ? std::optional{leg.facts()} : std::nullopt;
  };
  return {of(client_), server_ == nullptr ? std::nullopt : of(*server_)};
}

std::string_view Session::state() const noexcept {
  if (is_opening() && !link_.state().empty()) return link_.state();
  return dialogue_ != nullptr ? dialogue_->state() : name(phase_);
}

void Session::log_event(std::string_view message, const Error& error, Side side,
                        SessionRecord::Repetition repetition) {
  if (!record_.writes_events()) return;
  const std::string peer = side == Side::upstream ? to_string(link_.address()) : record_.client();
  record_.log_event({message, side, peer, state(), repetition}, error);
}

}  // namespace starttls::session
