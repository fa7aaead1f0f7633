// The session's part in preludes: it performs what the protocol's two roles decide.

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "lib/proto/clear_port.h"
#include "lib/session/policy.h"
#include "lib/session/upstream/proxy_header.h"
#include "lib/session/session.h"

namespace starttls::session {
namespace {

/// Cuts the server's words to their status. Once the client speaks, a server may repeat its words,
/// a password among them.
Error without_echo(Error error) {
  constexpr std::size_t kStatus = 16;
  auto& evidence = error.evidence;
  const auto end = std::min(evidence.find(' '), kStatus);
  if (end < evidence.size()) evidence.resize(end);
  return error;
}

/// Replaces the client's words by their number. They may be a login that was sent early.
Error without_clients_words(Error error, std::size_t bytes) {
  error.evidence = fmt::format("{} octets", bytes);
  return error;
}

}  // namespace

// --- Until the client is greeted -----------------------------------------------------------------

/// On a leg with TLS from the first octet nothing else tells an unwanted header from the handshake.
bool Session::may_begin() const noexcept {
  if (identity_.awaits_header()) return false;
  return !identity_.is_watching() || service_->config.downstream.tls != TlsMode::implicit;
}

/// What has just come is looked at, where a header is due or forbidden. False: that is all.
bool Session::look_for_header(std::string_view news) {
  if (!identity_.is_watching() || client_.secured()) return true;
  const bool awaited = identity_.awaits_header();
  const auto consumed = identity_.look(news);
  if (awaited && identity_.is_conveyed()) {
    const std::string balancer =
        std::exchange(client_name_, net::to_string(net::socket_address(*identity_.address())));
    env_.log.debug("client conveyed",
                   {{"session", id_},
                    {"service", service_->config.name},
                    {"balancer", balancer},
                    {"client", client_name_},
                    {"dialled", net::to_string(net::socket_address(*identity_.destination()))}});
  }
  if (!consumed) {
    fail(consumed.error());
    return false;
  }
  if (*consumed > 0) client_.consume(*consumed);
  if (phase_ != Phase::proxy_header) return true;
  if (awaited && !identity_.awaits_header() && !admit()) return false;
  if (may_begin()) begin();
  return false;
}

/// Who the client is is known: whether it is served. One that is not waits for nothing more.
bool Session::admit() {
  const auto& settings = service_->config.downstream;
  if (const auto allowed = identity_.check(settings); !allowed) {
    fail(allowed.error());
    return false;
  }
  if (identity_.address()) {
    auto seat =
        env_.clients.take(service_->config.name, *identity_.address(), settings.max_per_client);
    if (!seat) {
      fail(seat.error());
      return false;
    }
    seat_ = std::move(*seat);
  }
  return true;
}

/// More handshakes wait than this loop can do in time. False: the client has been refused.
bool Session::may_handshake() {
  if (!env_.loop.turn_budget().is_full(service_->lane(Side::downstream))) return true;
  fail(Error{Errc::limit, "too many TLS handshakes are waiting"});
  return false;
}

void Session::begin() {
  if (uses_tls(service_->config.downstream.tls) && !may_handshake()) return;
  if (service_->config.downstream.tls != TlsMode::implicit) {
    connect();
    return;
  }
  auto engine = tls::Engine::server(service_->downstream_tls, env_.loop.pool());
  if (!engine) {
    fail(engine.error());
    return;
  }
  if (service_->config.upstream.send_proxy == config::SendProxy::v2) (*engine)->keep_client_facts();
  enter(Phase::downstream_handshake);
  handshake_at_ = net::Loop::precise_now();
  client_.start_implicit_tls(std::move(*engine), service_->lane(Side::downstream));
}

void Session::connect() {
  if (auto warm = env_.owner.take_warm(*service_, static_cast<LegEvents&>(*this))) {
    env_.log.debug("warm connection taken",
                   {{"session", id_}, {"service", service_->config.name}, {"peer", warm->server}});
    go_on_with(std::move(*warm));
    return;
  }
  const auto* const conveyed = identity_.is_conveyed() ? &*identity_.address() : nullptr;
  if (const auto settled = target_.settle(client_.stream(), conveyed, env_.loop_guard); !settled) {
    fail(settled.error());
    return;
  }
  const auto give_up_at = accepted_at_ + service_->config.timeouts.prelude;
  opener_ =
      std::make_unique<UpstreamOpener>(WorkerContext{env_.loop, env_.resolver, env_.metrics},
                                       target_, give_up_at, static_cast<OpenerEvents&>(*this));
  if (target_.upstream().send_proxy != config::SendProxy::no) {
    opener_->begin_with(proxy_header(target_, identity_, client_));
  }
  opener_->start();
}

void Session::on_opening(OpeningStage stage) {
  switch (stage) {
    case OpeningStage::connecting:
      enter(Phase::connecting);
      return;
    case OpeningStage::handshake:
      enter(Phase::upstream_handshake);
      return;
    case OpeningStage::prelude:
      enter(Phase::upstream_prelude);
      return;
  }
}

void Session::on_attempt_failed(const Error& error) {
  log_event(log::Level::warn, "upstream failed, trying the next address", error, Side::upstream);
}

void Session::on_not_opened(const Error& error) {
  fail(error);
}

void Session::on_opened() {
  UpstreamConnection opened = opener_->take(*this);
  // It is in the middle of its own call; an idle session keeps nothing of it.
  env_.loop.defer([done = std::shared_ptr<UpstreamOpener>(std::move(opener_))] {});
  go_on_with(std::move(opened));
}

/// What was reached, whether it is of use or not.
void Session::adopt(UpstreamConnection& opened) {
  server_ = std::move(opened.leg);
  server_name_ = std::move(opened.server);
  address_index_ = opened.address_index;
  connected_at_ = opened.connected_at;
}

void Session::go_on_with(UpstreamConnection opened) {
  adopt(opened);
  if (relays_from_first_byte(service_->config.downstream.tls, target_.upstream().tls)) {
    start_plain_relay();
  } else {
    greet_client(opened);
  }
}

void Session::greet_client(const UpstreamConnection& opened) {
  // Such a client understands no greeting (D7).
  if (!client_.secured() && proto::begins_with_tls(client_.input())) {
    fail(proto::tls_on_clear_port());
    return;
  }
  greeted_at_ = net::Loop::precise_now();
  client_.limit_input(Leg::kMaxInput);
  env_.metrics.prelude_ended(greeted_at_ - born_at_);
  if (!opened.fallback_reason.empty()) {
    env_.metrics.plaintext_fallback(Side::upstream);
    log_event(log::Level::warn, "continuing in the clear",
              Error{Errc::tls_not_offered, opened.fallback_reason}, Side::upstream,
              Repetition::told);
  }
  downstream_role_ = service_->protocol->downstream(
      role_settings(target_, effective_mode(target_.upstream().tls, server_->secured())));
  to_server_.emplace(client_, *server_);
  to_client_.emplace(*server_, client_);
  enter(Phase::dialogue);

  std::string out;
  const auto verdict = downstream_role_->begin(opened.greeting, out);
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
  env_.metrics.prelude_ended(greeted_at_ - born_at_);
  to_server_.emplace(client_, *server_);
  to_client_.emplace(*server_, client_);
  // Before the relay, so that nothing is looked at twice.
  const std::string waiting{client_.input()};
  client_.limit_input(Leg::kMaxInput);
  client_.consume(waiting.size());
  enter(Phase::relay);
  server_->start_relay();
  if (!waiting.empty()) to_server_->on_data(std::as_bytes(std::span{waiting}));
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
    if (service_->config.downstream.tls == TlsMode::opportunistic && !client_.secured()) {
      env_.metrics.plaintext_fallback(Side::downstream);
    }
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
      finish(Outcome::ok(), "");
      return false;
  }
  return false;
}

void Session::start_downstream_tls() {
  if (!may_handshake()) return;
  auto engine = tls::Engine::server(service_->downstream_tls, env_.loop.pool());
  if (!engine) {
    fail(engine.error());
    return;
  }
  const std::string go_ahead = downstream_role_->go_ahead();
  enter(Phase::downstream_starttls);
  handshake_at_ = net::Loop::precise_now();
  auto started = client_.start_tls(go_ahead, std::move(*engine), service_->lane(Side::downstream));
  if (started) {
    prelude_bytes_to_client_ += go_ahead.size();
    env_.metrics.bytes(metrics::Direction::to_client, go_ahead.size());
    return;
  }
  env_.metrics.attacked(Side::downstream, started.error().attack);
  const Error error = without_clients_words(started.error(), client_.input().size());
  log_event(log::Level::warn, "session failed", error, Side::downstream);
  send_to_client(downstream_role_->injection_reply());
  finish(error.code, error.reason);
}

void Session::on_leg_secured(Leg& leg) {
  if (is_client(leg)) on_client_secured();
}

void Session::on_client_secured() {
  if (const Error* refusal = client_.refusal()) {
    on_client_handshake_failed(*refusal);
    return;
  }
  const tls::Facts facts = client_.facts();
  env_.metrics.handshake_done({.side = Side::downstream,
                               .version = facts.number,
                               .resumed = facts.resumed,
                               .took = net::Loop::precise_now() - handshake_at_});
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

/// Where it was not completed no words reach the client, for nothing more goes out in the clear; a
/// certificate is refused inside TLS: the client can trust it, and nobody else reads it (RFC 3207
/// §4.1).
void Session::on_client_handshake_failed(const Error& error) {
  env_.metrics.handshake_failed(Side::downstream, error.code);
  fail(error);
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
    if (step.error().code == Errc::attack) {
      env_.metrics.attacked(Side::upstream, step.error().attack);
    }
    fail(without_echo(step.error()));
    return;
  }
  server_->consume(step->consumed);
  if (!dialogue_goes_on(step->verdict)) return;
  if (step->verdict == proto::Verdict::relay) {
    downstream_role_.reset();
    to_server_->begin();
    to_client_->begin();
    server_->start_relay();
  }
  balance();
}

void Session::send_to_client(std::string_view text) {
  if (!client_.writable()) return;  // last words behind a handshake that failed: nobody hears them
  prelude_bytes_to_client_ += text.size();
  env_.metrics.bytes(metrics::Direction::to_client, text.size());
  client_.write(text);
}

void Session::send_to_server(std::string_view text) {
  prelude_bytes_to_server_ += text.size();
  env_.metrics.bytes(metrics::Direction::to_server, text.size());
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
