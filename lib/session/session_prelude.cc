// The session's part in preludes: it performs what the protocol's two roles decide.

#include <algorithm>
#include <utility>

#include "lib/base/random.h"
#include "lib/session/policy.h"
#include "lib/session/session.h"

namespace starttls::session {

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
          .client_certificate =
              !config.upstream.certificate.chain.empty() && uses_tls(config.upstream.tls),
          .tag = random_token()};
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
  auto engine = tls::Engine::client(service_->upstream_tls, env_.loop.pool(),
                                    config::peer_name(upstream, address()), server_name_);
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
  if (!dialogue_goes_on(step->verdict)) return;
  if (step->verdict == proto::Verdict::relay) {
    enter(Phase::relay);
    client_.start_relay();
    run_server_input();
  }
  pass_on_client_end();
  balance();
}

/// What does not depend on who spoke. False: the dialogue is over, or interrupted by a handshake.
bool Session::dialogue_goes_on(proto::Verdict verdict) {
  switch (verdict) {
    case proto::Verdict::need_more:
    case proto::Verdict::greeted:
    case proto::Verdict::relay:
      return true;
    case proto::Verdict::start_tls:
      start_downstream_tls();
      return false;
    case proto::Verdict::finish:
      finish("ok", "");
      return false;
  }
  return false;
}

void Session::start_downstream_tls() {
  auto engine = tls::Engine::server(service_->downstream_tls, env_.loop.pool());
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
  if (const Error* refusal = client_.refusal()) {
    fail(
        *refusal);  // inside TLS: the client can trust it, and nobody else reads it (RFC 3207 §4.1)
    return;
  }
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
  if (!dialogue_goes_on(step->verdict)) return;
  if (step->verdict == proto::Verdict::relay) {
    downstream_role_.reset();
    // From here on the pipes see to back-pressure.
    client_.resume_reading();
    server_->resume_reading();
    server_->start_relay();
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

}  // namespace starttls::session
