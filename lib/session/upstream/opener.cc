#include "lib/session/upstream/opener.h"

#include <algorithm>
#include <utility>

#include "lib/base/random.h"
#include "lib/base/secret.h"
#include "lib/config/mistakes.h"
#include "lib/proto/lines.h"
#include "lib/session/credentials/login_facts.h"
#include "lib/session/policy.h"

namespace starttls::session {
namespace {

using std::chrono::milliseconds;

LoginWhen login_time(const config::Service& service) noexcept {
  return service.login ? service.login->when : LoginWhen::never;
}

}  // namespace

proto::RoleSettings role_settings(const Target& target, TlsMode upstream) {
  const auto& settings = target.upstream();
  return {.downstream = target.service().config.downstream.tls,
          .upstream = upstream,
          .hostname = target.service().own_name->text(),
          // On a leg that never upgrades, the greeting passes unchanged.
          .greeting_text = settings.greeting_text || !proto::upgrades(settings.tls),
          .client_certificate = !settings.certificate.chain.empty() && uses_tls(settings.tls),
          .tag = random_token(),
          .login = login_time(target.service().config)};
}

UpstreamOpener::UpstreamOpener(WorkerContext context, Target& target, milliseconds give_up_at,
                               OpenerEvents& events, const Observation* observation)
    : loop_(context.loop),
      metrics_(context.metrics),
      target_(target),
      give_up_at_(give_up_at),
      events_(events),
      observation_(observation),
      context_(context),
      opening_(policy()),
      deadline_(loop_, [this] { on_deadline(); }) {}

Opening::Policy UpstreamOpener::policy() {
  const auto& protocol = *target_.service().protocol;
  return {
      .downstream = target_.service().config.downstream.tls,
      .upstream = target_.upstream().tls,
      .addresses = target_.addresses().size(),
      .has_hello = protocol.capabilities.says_hostname,
      .goodbye = protocol.capabilities.goodbye,
      .always_conducts =
          observation_ != nullptr || login_time(target_.service().config) != LoginWhen::never,
      .make_role = [this](bool tls_refused) { return make_role(tls_refused); },
      .has_time = [this] { return time_left() > milliseconds{0}; },
      .has_hung_up = [this] { return leg_->stream().is_over(); },
      .port_mistake = [this] { return config::port_mistake(target_.upstream().tls, address()); },
      .note_unanswered_hello = [this] { return leg_->note_unanswered_hello(); }};
}

std::unique_ptr<proto::UpstreamRole> UpstreamOpener::make_role(bool tls_refused) const {
  auto settings = role_settings(target_, target_.upstream().tls);
  settings.tls_refused = tls_refused;
  if (observation_ == nullptr) return target_.service().protocol->upstream(settings);
  settings.login = LoginWhen::never;  // a probe looks at the server, and is no client
  return observation_->wrap_role(target_.service().protocol->upstream(settings));
}

void UpstreamOpener::keep_until_it_ends(std::unique_ptr<Leg> leg) {
  retired_ = std::move(leg);
  retired_->set_events(static_cast<LegEvents&>(*this));
  retired_->finish();
}

/// Drops the retired leg, because its connection counts as an open one (R5). That is done from the
/// loop, since we are inside one of the leg's calls.
void UpstreamOpener::on_leg_finished(Leg& leg) {
  if (&leg != retired_.get()) return;
  forget_retired_.emplace(loop_, [this] {
    if (retired_->finished()) retired_.reset();  // it may be another one by now
  });
  forget_retired_->start(milliseconds{0});
}

void UpstreamOpener::start() {
  connect();
}

UpstreamConnection UpstreamOpener::take(LegEvents& events) {
  over_ = true;
  connector_.reset();
  desk_.reset();
  deadline_.stop();
  UpstreamConnection opened{.leg = std::move(leg_),
                            .server = server_,
                            .address_index = opening_.address_index(),
                            .greeting = opening_.greeting(),
                            .fallback_reason = opening_.fallback_reason(),
                            .refused_tls = opening_.has_refused_tls(),
                            .connected_at = connected_at_,
                            .last_reply = last_reply_,
                            .login = login_};
  if (opened.leg != nullptr) opened.leg->set_events(events);
  return opened;
}

// --- Stages and deadlines ------------------------------------------------------------------------

milliseconds UpstreamOpener::time_left() const {
  return std::max(milliseconds{0}, give_up_at_ - loop_.now());
}

void UpstreamOpener::report_stage() {
  reported_ = opening_.stage();
  events_.on_opening(reported_);
  arm_deadline();
}

void UpstreamOpener::arm_deadline() {
  const auto left = time_left();
  if (opening_.awaits_push()) {
    deadline_.start(std::min(kPushWait, left));
  } else if (opening_.expects_silence()) {
    deadline_.start(std::min(kFirstByteWait, left));
  } else if (opening_.stage() == OpeningStage::handshake) {
    deadline_.start(std::min(target_.service().config.timeouts.handshake, left));
  } else {
    deadline_.start(left);
  }
}

void UpstreamOpener::on_deadline() {
  if (opening_.stage() == OpeningStage::connecting) metrics_.connect_failed(Errc::timeout);
  if (opening_.stage() == OpeningStage::handshake) {
    metrics_.handshake_failed(Side::upstream, Errc::timeout);
  }
  perform(opening_.on_expired());
  if (!over_) arm_deadline();
}

// --- One attempt ---------------------------------------------------------------------------------

void UpstreamOpener::connect() {
  desk_.reset();
  login_.reset();
  report_stage();
  const auto patience = target_.service().config.timeouts.connect;
  const auto done = [this](Result<net::Connector::Connected> connected) {
    on_connected(std::move(connected));
  };
  if (const auto* source = target_.source()) {
    connector_ = std::make_unique<net::Connector>(loop_, context_.resolver, address(), patience,
                                                  *source, done);
  } else {
    connector_ =
        std::make_unique<net::Connector>(loop_, context_.resolver, address(), patience, done);
  }
  connector_->start();
}

void UpstreamOpener::on_connected(Result<net::Connector::Connected> connected) {
  if (!connected) {
    metrics_.connect_failed(connected.error().code);
    attempt_failed(connected.error());
    return;
  }
  connected_at_ = net::Loop::precise_now();
  server_ = net::to_string(connected->server);
  last_reply_ = 0;
  if (const auto allowed = target_.connected(*connected->stream); !allowed) {
    give_up(allowed.error());
    return;
  }
  leg_ = std::make_unique<Leg>(std::move(connected->stream), static_cast<LegEvents&>(*this));
  connector_.reset();
  leg_->write(observation_ == nullptr ? preface_ : observation_->preface(leg_->stream()));
  perform(opening_.on_connected());
  const bool goes_on = !over_ && leg_ != nullptr;
  if (goes_on && opening_.stage() != OpeningStage::connecting) leg_->start();
}

void UpstreamOpener::start_tls() {
  auto engine = tls::Engine::client(target_.tls(), loop_.pool(),
                                    config::peer_name(target_.upstream(), address()), server_);
  if (!engine) {
    attempt_failed(engine.error());
    return;
  }
  if (observation_ != nullptr) (*engine)->keep_peer_chain();
  const auto lane = target_.service().lane(Side::upstream);
  handshake_at_ = net::Loop::precise_now();
  if (target_.upstream().tls == TlsMode::implicit) {
    leg_->start_implicit_tls(std::move(*engine), lane);
    return;
  }
  auto started = leg_->start_tls({}, std::move(*engine), lane);
  if (!started) attempt_failed(started.error());
}

void UpstreamOpener::perform(Opening::Step step) {
  using Do = Opening::Step::Do;
  Leg* const leg = leg_.get();
  if (step.consumed > 0) leg->consume(step.consumed);
  if (!step.to_server.empty()) leg->write(step.to_server);
  wipe(step.to_server);  // it may be a login
  note_login();
  if (over_ || leg_.get() != leg) return;  // the write has failed
  if (step.error && step.error->code == Errc::attack) {
    metrics_.attacked(Side::upstream, step.error->attack);
  }
  if (step.what != Do::connect && reported_ != opening_.stage()) report_stage();
  switch (step.what) {
    case Do::wait:
      return;
    case Do::start_tls:
      start_tls();
      return;
    case Do::log_in:
      log_in();
      return;
    case Do::connect:
      if (step.error) {
        events_.on_attempt_failed(*step.error, step.with_smaller_hello ? NextAttempt::smaller_hello
                                                                       : NextAttempt::next_address);
      }
      connector_.reset();
      // We may be inside one of its calls.
      if (leg_ != nullptr) keep_until_it_ends(std::move(leg_));
      connect();
      return;
    case Do::opened:
      report_opened();
      return;
    case Do::give_up:
      give_up(*step.error);
      return;
  }
}

/// Gets the credentials that the role has asked for.
void UpstreamOpener::log_in() {
  if (desk_ == nullptr) {
    desk_ = std::make_unique<CredentialsDesk>(context_, *target_.service().accounts);
  }
  desk_->ask(opening_.login_request(), [this](Result<proto::Credentials> credentials) {
    perform(opening_.on_credentials(
        for_server(std::move(credentials), {target_.upstream(), address(), leg_->secured()}),
        leg_->input()));
    hear_again();
  });
}

/// Offers input that came while the role waited for credentials.
void UpstreamOpener::hear_again() {
  if (!over_ && leg_ != nullptr && !leg_->input().empty()) on_leg_input(*leg_);
}

/// Notes and counts the result of our login, once per login.
void UpstreamOpener::note_login() {
  const auto* const report = opening_.login_report();
  if (report == nullptr || login_) return;
  login_ = *report;
  count_login(metrics_, *report);
}

void UpstreamOpener::attempt_failed(const Error& error) {
  if (over_) return;
  if (opening_.stage() == OpeningStage::handshake && error.code != Errc::attack) {
    metrics_.handshake_failed(Side::upstream, error.code);
  }
  perform(opening_.on_failed(error));
}

void UpstreamOpener::report_opened() {
  over_ = true;
  desk_.reset();
  deadline_.stop();
  events_.on_opened();
}

void UpstreamOpener::give_up(const Error& error) {
  over_ = true;
  desk_.reset();
  deadline_.stop();
  events_.on_not_opened(error);
}

// --- Events of the leg ---------------------------------------------------------------------------

void UpstreamOpener::on_leg_input(Leg& leg) {
  if (!is_current(leg) || opening_.stage() != OpeningStage::prelude) return;
  if (opening_.awaits_credentials()) return;
  if (const auto find_code = target_.service().protocol->last_reply) {
    last_reply_ = find_code(last_reply_, leg.input(), true);
  }
  const bool was_waiting = opening_.awaits_push() || opening_.expects_silence();
  auto step = opening_.on_input(leg.input());
  if (was_waiting) arm_deadline();
  perform(std::move(step));
}

void UpstreamOpener::on_leg_secured(Leg& leg) {
  if (!is_current(leg) || opening_.stage() != OpeningStage::handshake) return;
  const tls::Facts facts = leg.facts();
  metrics_.handshake_done({.side = Side::upstream,
                           .version = facts.number,
                           .group = facts.group,
                           .resumed = facts.resumed,
                           .took = net::Loop::precise_now() - handshake_at_});
  if (facts.server_certificate_end) {
    target_.service().metrics->server_certificates().note(to_string(address()),
                                                          *facts.server_certificate_end);
  }
  perform(opening_.on_secured());
}

void UpstreamOpener::on_leg_end(Leg& leg, LegEnd, std::string_view how) {
  if (!is_current(leg)) return;
  const Error error{Errc::closed, "the server closed the connection", std::string{how}};
  if (opening_.stage() == OpeningStage::prelude) {
    perform(opening_.on_server_lost(error));
  } else {
    attempt_failed(error);
  }
}

void UpstreamOpener::on_leg_failed(Leg& leg, Error error) {
  if (is_current(leg)) attempt_failed(error);
}

}  // namespace starttls::session
