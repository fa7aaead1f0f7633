#include "lib/session/session.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <utility>

#include "lib/session/policy.h"
#include "lib/tls/engine.h"

namespace starttls::session {
namespace {

/// How often we look whether the kernel has delivered what a reset would destroy.
constexpr std::chrono::milliseconds kDeliveryPoll{10};

std::uint64_t as_ms(std::chrono::nanoseconds time) {
  return static_cast<std::uint64_t>(
      std::chrono::duration_cast<std::chrono::milliseconds>(time).count());
}

tls::Facts clear_leg() {
  tls::Facts facts;
  facts.version = "none";
  return facts;
}

std::string_view verify_name(config::Verify verify) noexcept {
  return verify == config::Verify::full ? "full" : "none";
}

/// 128 random bits as an atom.
std::string random_tag() {
  constexpr std::string_view kHex = "0123456789abcdef";
  std::array<unsigned char, 16> random{};
  // Fails for longer requests and on kernels of another age only; without it no tag is safe.
  if (::getentropy(random.data(), random.size()) != 0) std::abort();
  std::string tag;
  for (const auto byte : random) {
    tag += kHex[byte >> 4U];
    tag += kHex[byte & 15U];
  }
  return tag;
}

}  // namespace

Session::Session(Environment environment, std::shared_ptr<const Service> service,
                 net::Stream::Ptr client, std::string id)
    : env_(environment),
      service_(std::move(service)),
      id_(std::move(id)),
      client_name_(net::to_string(client->peer())),
      deadline_(env_.loop, [this] { on_deadline(); }),
      client_(std::move(client), *this),
      accepted_at_(env_.loop.now()),
      last_activity_(accepted_at_),
      born_at_(net::Loop::precise_now()) {}

void Session::start() {
  if (service_->config.downstream.tls != TlsMode::implicit) {
    client_.start();
    connect();
    return;
  }
  auto engine = tls::Engine::server(service_->downstream_tls);
  if (!engine) {
    fail(engine.error());
    return;
  }
  enter(Phase::downstream_handshake);
  client_.start_implicit_tls(std::move(*engine));
  client_.start();
}

void Session::refuse(const Error& error) {
  client_.start();
  fail(error);
}

void Session::stop() {
  if (phase_ == Phase::relay) {
    finish(name(Errc::draining), "the time to drain is over");
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
    case Phase::upstream_prelude:
      deadline_.start(prelude_left());
      return;
    case Phase::downstream_handshake:
    case Phase::upstream_handshake:
      deadline_.start(std::min(timeouts.handshake, prelude_left()));
      return;
    case Phase::downstream_starttls:
      deadline_.start(timeouts.handshake);
      return;
    case Phase::dialogue:
      deadline_.start(timeouts.command);
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
    case Phase::downstream_handshake:
    case Phase::downstream_starttls:
      fail(Error{Errc::timeout, "the TLS handshake with the client timed out"});
      return;
    case Phase::accepted:
    case Phase::connecting:
      fail(Error{Errc::timeout, "timed out while connecting to the server"});
      return;
    case Phase::upstream_handshake:
      // The next address may do better, as long as the prelude's own time is not over.
      attempt_failed(Error{Errc::timeout, "the TLS handshake with the server timed out"});
      return;
    case Phase::upstream_prelude:
      if (awaits_push_ && prelude_left() > std::chrono::milliseconds{0}) {
        ask_for_push();
      } else {
        fail(Error{Errc::timeout, "the server did not answer in time"});
      }
      return;
    case Phase::dialogue:
      fail(Error{Errc::timeout, "no command in time"});
      return;
    case Phase::relay: {
      // Octets do not touch the timer; it asks, when it expires, how long it has been quiet.
      const std::size_t unsent = client_.stream().unsent() + server_->stream().unsent();
      if (std::exchange(last_unsent_, unsent) != unsent) last_activity_ = env_.loop.now();
      const auto quiet = env_.loop.now() - last_activity_;
      const auto idle = service_->config.timeouts.idle;
      if (quiet < idle) {
        deadline_.start(idle - quiet);
      } else {
        finish(name(Errc::timeout), "idle");
      }
      return;
    }
    case Phase::finishing:
      if (to_reset_ != nullptr) {
        reset_when_delivered();
      } else {
        end();
      }
      return;
    case Phase::ended:
      return;
  }
}

// --- Until the client is greeted -----------------------------------------------------------------

void Session::connect() {
  enter(Phase::connecting);
  connector_ = std::make_unique<net::Connector>(
      env_.loop, address(), service_->config.timeouts.connect,
      [this](Result<net::Stream::Ptr> stream) { on_connected(std::move(stream)); });
  connector_->start();
}

void Session::on_connected(Result<net::Stream::Ptr> stream) {
  if (!stream) {
    attempt_failed(stream.error());
    return;
  }
  connected_at_ = net::Loop::precise_now();
  server_name_ = net::to_string((*stream)->peer());
  server_ = std::make_unique<Leg>(std::move(*stream), static_cast<LegEvents&>(*this));
  connector_.reset();

  const TlsMode mode = service_->config.upstream.tls;
  if (relays_from_first_byte(service_->config.downstream.tls, mode)) {
    start_plain_relay();
    return;
  }
  if (mode == TlsMode::implicit) {
    start_upstream_tls();
  } else {
    start_upstream_role();
  }
}

proto::RoleSettings Session::role_settings(TlsMode upstream) const {
  const auto& config = service_->config;
  return {.downstream = config.downstream.tls,
          .upstream = upstream,
          .hostname = service_->hostname,
          .greeting_text = config.upstream.greeting_text,
          .tag = random_tag()};
}

void Session::start_upstream_role() {
  enter(Phase::upstream_prelude);
  upstream_role_ = service_->protocol->upstream(role_settings(service_->config.upstream.tls));
  std::string out;
  const auto verdict = upstream_role_->begin(out);
  on_upstream_verdict(verdict, out);
  if (phase_ == Phase::upstream_prelude) server_->start();
}

void Session::run_upstream_role() {
  std::string out;
  const auto step = upstream_role_->step(server_->input(), out);
  if (!step) {
    attempt_failed(step.error());
    return;
  }
  server_->consume(step->consumed);
  on_upstream_verdict(step->verdict, out);
}

void Session::on_upstream_verdict(Result<proto::Verdict> verdict, std::string_view to_server) {
  if (!verdict) {
    attempt_failed(verdict.error());
    return;
  }
  server_->write(to_server);
  switch (*verdict) {
    case proto::Verdict::need_more:
      return;
    case proto::Verdict::start_tls:
      start_upstream_tls();
      return;
    case proto::Verdict::greeted:
    case proto::Verdict::relay:
      greet_client();
      return;
    case proto::Verdict::finish:
      fail(Error{Errc::closed, "the server has nothing to say"});
      return;
  }
}

void Session::start_upstream_tls() {
  const auto& upstream = service_->config.upstream;
  auto engine = tls::Engine::client(service_->upstream_tls, config::peer_name(upstream, address()));
  if (!engine) {
    attempt_failed(engine.error());
    return;
  }
  enter(Phase::upstream_handshake);
  if (upstream_role_ == nullptr) {
    server_->start_implicit_tls(std::move(*engine));
    if (phase_ == Phase::upstream_handshake) server_->start();
    return;
  }
  auto started = server_->start_tls({}, std::move(*engine));
  if (!started) attempt_failed(started.error());
}

void Session::on_leg_secured(Leg& leg) {
  if (is_client(leg)) {
    on_client_secured();
    return;
  }
  if (is_retired(leg) || phase_ != Phase::upstream_handshake) return;
  if (upstream_role_ == nullptr) {
    start_upstream_role();
    return;
  }
  enter(Phase::upstream_prelude);
  std::string out;
  const auto verdict = upstream_role_->secured(out);
  awaits_push_ = verdict && *verdict == proto::Verdict::need_more;
  if (awaits_push_) deadline_.start(std::min(kPushWait, prelude_left()));
  on_upstream_verdict(verdict, out);
}

void Session::ask_for_push() {
  awaits_push_ = false;
  arm_deadline();
  std::string out;
  const auto verdict = upstream_role_->on_quiet(out);
  on_upstream_verdict(verdict, out);
}

void Session::attempt_failed(const Error& error) {
  if (!before_greeting()) return;
  const bool another = address_index_ + 1 < service_->config.upstream.address.size();
  if (!another || prelude_left() == std::chrono::milliseconds{0}) {
    fail(error);
    return;
  }
  log_event(log::Level::warn, "upstream failed, trying the next address", error, "upstream");
  ++address_index_;
  connector_.reset();
  upstream_role_.reset();
  if (server_ != nullptr) {
    server_->finish();
    retired_ = std::move(server_);  // we may be inside one of its calls
  }
  connect();
}

void Session::greet_client() {
  greeted_at_ = net::Loop::precise_now();
  retired_.reset();
  const auto& config = service_->config;
  const auto greeted_by = std::exchange(upstream_role_, nullptr);
  if (!greeted_by->fallback_reason().empty()) {
    log_event(log::Level::warn, "continuing in the clear",
              Error{Errc::tls_not_offered, greeted_by->fallback_reason()}, "upstream");
  }
  downstream_role_ = service_->protocol->downstream(
      role_settings(effective_mode(config.upstream.tls, server_->secured())));
  to_server_.emplace(client_, *server_);
  to_client_.emplace(*server_, client_);
  enter(Phase::dialogue);

  std::string out;
  const auto verdict = downstream_role_->begin(greeted_by->greeting(), out);
  send_to_client(out);
  if (!verdict) {
    fail(verdict.error());
    return;
  }
  if (!server_->input().empty()) run_server_input();
  run_client_input();
}

void Session::start_plain_relay() {
  greeted_at_ = connected_at_;
  to_server_.emplace(client_, *server_);
  to_client_.emplace(*server_, client_);
  enter(Phase::relay);
  server_->start_relay();
  client_.start_relay();
  if (client_ended_) to_server_->on_end();
}

// --- While the downstream role stands between the streams ----------------------------------------

void Session::run_client_input() {
  if (phase_ != Phase::dialogue) return;
  std::string to_client;
  std::string to_server;
  const auto step = downstream_role_->from_client(client_.input(), to_client, to_server);
  send_to_client(to_client);
  send_to_server(to_server);
  if (!step) {
    fail(step.error());
    return;
  }
  client_.consume(step->consumed);
  if (step->consumed > 0) arm_deadline();  // a complete command
  switch (step->verdict) {
    case proto::Verdict::need_more:
    case proto::Verdict::greeted:
      break;
    case proto::Verdict::start_tls:
      start_downstream_tls();
      return;
    case proto::Verdict::finish:
      finish("ok", "");
      return;
    case proto::Verdict::relay:
      enter(Phase::relay);
      client_.start_relay();
      run_server_input();
      break;
  }
  pass_on_client_end();
  balance();
}

void Session::start_downstream_tls() {
  auto engine = tls::Engine::server(service_->downstream_tls);
  if (!engine) {
    fail(engine.error());
    return;
  }
  const std::string go_ahead = downstream_role_->go_ahead();
  enter(Phase::downstream_starttls);
  const auto started = client_.start_tls(go_ahead, std::move(*engine));
  if (started) {
    prelude_bytes_to_client_ += go_ahead.size();
    return;
  }
  log_event(log::Level::warn, "session failed", started.error(), "downstream");
  send_to_client(downstream_role_->injection_reply());
  finish(name(started.error().code), started.error().reason);
}

void Session::on_client_secured() {
  if (phase_ == Phase::downstream_handshake) {
    connect();
    return;
  }
  if (phase_ != Phase::downstream_starttls) return;
  enter(Phase::dialogue);
  std::string out;
  const auto verdict = downstream_role_->secured(out);
  send_to_client(out);
  if (!verdict) {
    fail(verdict.error());
    return;
  }
  if (!server_->input().empty()) run_server_input();
}

/// A half-closed client's end travels behind its last whole line; what follows that is no command.
void Session::pass_on_client_end() {
  if (client_ended_ && phase_ < Phase::finishing) to_server_->on_end();
}

void Session::run_server_input() {
  if (downstream_role_ == nullptr || phase_ >= Phase::finishing) return;
  if (phase_ == Phase::downstream_starttls) return;  // it waits until the client can hear it
  std::string to_client;
  const auto step = downstream_role_->from_server(server_->input(), to_client);
  send_to_client(to_client);
  if (!step) {
    fail(step.error());
    return;
  }
  server_->consume(step->consumed);
  switch (step->verdict) {
    case proto::Verdict::need_more:
    case proto::Verdict::greeted:
      break;
    case proto::Verdict::start_tls:
      start_downstream_tls();
      return;
    case proto::Verdict::finish:
      finish("ok", "");
      return;
    case proto::Verdict::relay:
      downstream_role_.reset();
      // From here on the pipes see to back-pressure.
      client_.resume_reading();
      server_->resume_reading();
      server_->start_relay();
      break;
  }
  balance();
}

void Session::send_to_client(std::string_view text) {
  prelude_bytes_to_client_ += text.size();
  client_.write(text);
}

void Session::send_to_server(std::string_view text) {
  prelude_bytes_to_server_ += text.size();
  server_->write(text);
}

/// Back-pressure while replies and commands are still looked at: whoever does not read is not
/// served.
void Session::balance() {
  if (downstream_role_ == nullptr || phase_ >= Phase::finishing) return;
  const bool waits = client_.queued() > 0 || server_->queued() > 0;
  for (Leg* leg : {&client_, server_.get()}) {
    if (waits) {
      leg->pause_reading();
    } else {
      leg->resume_reading();
    }
  }
}

// --- Events of the legs --------------------------------------------------------------------------

void Session::on_leg_input(Leg& leg) {
  if (is_retired(leg) || phase_ >= Phase::finishing) return;
  if (is_client(leg)) {
    run_client_input();  // before the greeting its octets wait
  } else if (phase_ == Phase::upstream_prelude) {
    if (std::exchange(awaits_push_, false)) arm_deadline();
    run_upstream_role();
  } else {
    run_server_input();
  }
}

void Session::on_leg_data(Leg& leg, std::span<const std::byte> plaintext) {
  if (phase_ != Phase::relay) return;
  last_activity_ = env_.loop.now();
  pipe_from(leg).on_data(plaintext);
}

void Session::on_leg_drained(Leg& leg) {
  if (is_retired(leg) || phase_ >= Phase::finishing || !to_server_) return;
  pipe_to(leg).on_drained();
  balance();
}

void Session::on_leg_end(Leg& leg, LegEnd end, std::string_view how) {
  if (is_retired(leg) || phase_ >= Phase::finishing) return;
  if (!is_client(leg) && before_greeting()) {
    attempt_failed(Error{Errc::closed, "the server closed the connection", std::string{how}});
    return;
  }
  if (end == LegEnd::cut) {
    on_cut(leg, "ok", how);
    return;
  }
  if (is_client(leg) && before_greeting()) {
    client_ended_ = true;
    // Half a client that has said something wants an answer; one that said nothing has left.
    if (client_.input().empty())
      finish(name(Errc::closed), "the client left before it was greeted");
    return;
  }
  pipe_from(leg).on_end();
  // A server that leaves in the middle of a dialogue leaves nothing to talk about.
  if (!is_client(leg) && phase_ < Phase::relay) finish("ok", "");
  finish_if_both_ended();
}

/// `outcome`: what it is called where nothing was lost in the middle of a line.
void Session::on_cut(Leg& leg, std::string_view outcome, std::string_view how) {
  const std::string_view side = is_client(leg) ? "the client" : "the server";
  if (before_greeting()) {
    finish(name(Errc::closed), "the client left before it was greeted: " + std::string{how});
    return;
  }
  Leg& other = is_client(leg) ? *server_ : client_;
  const std::string reason = std::string{side} + "'s connection was cut: " + std::string{how};
  if (!pipe_from(leg).inside_line()) {
    finish(outcome, reason);
    return;
  }
  outcome_ = outcome == "ok" ? "truncated" : outcome;
  reason_ = reason;
  to_reset_ = &other;
  leg.finish();
  enter(Phase::finishing);
  reset_when_delivered();
}

void Session::on_leg_write_failed(Leg& leg, Error) {
  if (is_retired(leg) || phase_ >= Phase::finishing || !to_server_) return;
  pipe_to(leg).on_broken();
  finish_if_both_ended();
}

void Session::on_leg_failed(Leg& leg, Error error) {
  if (is_retired(leg) || phase_ >= Phase::finishing) return;
  if (!is_client(leg) && before_greeting()) {
    attempt_failed(error);
    return;
  }
  if (is_client(leg) && !leg.secured()) {
    fail(error);  // the words are lost: nothing more goes out in the clear
    return;
  }
  log_event(log::Level::warn, "TLS failed", error, is_client(leg) ? "downstream" : "upstream");
  on_cut(leg, name(error.code), error.reason);
}

void Session::on_leg_finished(Leg& leg) {
  if (!is_retired(leg)) end_if_finished();
}

void Session::finish_if_both_ended() {
  if (phase_ < Phase::finishing && to_server_->finished() && to_client_->finished()) {
    finish("ok", "");
  }
}

// --- The end -------------------------------------------------------------------------------------

void Session::fail(const Error& error) {
  if (phase_ >= Phase::finishing) return;
  const bool upstream = before_greeting() && phase_ >= Phase::connecting;
  log_event(log::Level::warn, "session failed", error, upstream ? "upstream" : "downstream");
  if (phase_ != Phase::relay) {
    // Where nothing was to be secured, or all of the leg is, the server's own refusal may pass.
    const bool verbatim = error.code == Errc::greeting_refused && upstream_role_ != nullptr &&
                          !upstream_role_->greeting().empty();
    send_to_client(verbatim ? upstream_role_->greeting()
                            : proto::failure_reply(*service_->protocol, error, service_->hostname));
  }
  finish(name(error.code), error.reason);
}

void Session::finish(std::string_view outcome, std::string reason) {
  if (phase_ >= Phase::finishing) return;
  outcome_ = outcome;
  reason_ = std::move(reason);
  connector_.reset();
  enter(Phase::finishing);
  client_.finish();
  if (server_ != nullptr) server_->finish();
  end_if_finished();
}

/// RST makes the peer's kernel forget what it was sent and has not acknowledged, so that comes
/// first.
void Session::reset_when_delivered() {
  const bool delivered = to_reset_->queued() == 0 && to_reset_->stream().unacknowledged() == 0;
  const bool patient = env_.loop.now() < last_activity_ + kLinger;
  if (!delivered && patient) {
    arm_deadline();
    return;
  }
  to_reset_->reset();
  end();
}

void Session::end_if_finished() {
  if (phase_ != Phase::finishing || to_reset_ != nullptr) return;
  if (client_.finished() && (server_ == nullptr || server_->finished())) end();
}

void Session::end() {
  if (phase_ == Phase::ended) return;
  enter(Phase::ended);
  log_session();
  env_.owner.on_session_ended(*this);
}

// --- Logs ----------------------------------------------------------------------------------------

std::string_view Session::state() const noexcept {
  if (before_greeting() && upstream_role_ != nullptr) return upstream_role_->state();
  if (downstream_role_ != nullptr) return downstream_role_->state();
  return kPhaseNames[static_cast<std::size_t>(phase_)];
}

void Session::log_event(log::Level level, std::string_view message, const Error& error,
                        std::string_view leg) {
  const bool upstream = leg == "upstream";
  env_.log.write(level, message,
                 {{"session", id_},
                  {"service", service_->config.name},
                  {"leg", leg},
                  {"peer", upstream ? to_string(address()) : client_name_},
                  {"state", state()},
                  {"error", name(error.code)},
                  {"reason", error.reason},
                  {"evidence", error.evidence}});
}

void Session::log_session() {
  const auto& upstream = service_->config.upstream;
  const bool secured = server_ != nullptr && server_->secured();
  const tls::Facts up = secured ? server_->facts() : clear_leg();
  const tls::Facts down = client_.secured() ? client_.facts() : clear_leg();
  const auto since_birth = [this](std::chrono::nanoseconds at) {
    return at == std::chrono::nanoseconds{} ? 0 : as_ms(at - born_at_);
  };
  // Encryption without identity is said on every line, not only at start.
  const bool unverified = secured && upstream.verify == config::Verify::none;
  env_.log.write(
      unverified ? log::Level::warn : log::Level::info, "session",
      {{"session", id_},
       {"service", service_->config.name},
       {"client", client_name_},
       {"server", server_name_},
       {"downstream_tls", down.version},
       {"downstream_cipher", down.cipher},
       {"downstream_resumed", down.resumed},
       {"upstream_tls", up.version},
       {"upstream_cipher", up.cipher},
       {"upstream_resumed", up.resumed},
       {"upstream_verify", secured ? verify_name(upstream.verify) : ""},
       {"bytes_to_server", prelude_bytes_to_server_ + (to_server_ ? to_server_->octets() : 0)},
       {"bytes_to_client", prelude_bytes_to_client_ + (to_client_ ? to_client_->octets() : 0)},
       {"connect_ms", since_birth(connected_at_)},
       {"prelude_ms", since_birth(greeted_at_)},
       {"total_ms", since_birth(net::Loop::precise_now())},
       {"outcome", outcome_},
       {"reason", reason_}});
}

}  // namespace starttls::session
