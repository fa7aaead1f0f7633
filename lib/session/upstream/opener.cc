#include "lib/session/upstream/opener.h"

#include <algorithm>
#include <utility>

#include "lib/base/random.h"
#include "lib/session/policy.h"

namespace starttls::session {

proto::RoleSettings role_settings(const Target& target, TlsMode upstream) {
  const auto& settings = target.upstream();
  return {.downstream = target.service().config.downstream.tls,
          .upstream = upstream,
          .hostname = target.service().own_name->text(),
          .greeting_text = settings.greeting_text,
          .client_certificate = !settings.certificate.chain.empty() && uses_tls(settings.tls),
          .tag = random_token()};
}

UpstreamOpener::UpstreamOpener(WorkerContext context, Target& target,
                               std::chrono::milliseconds give_up_at, OpenerEvents& events)
    : loop_(context.loop),
      metrics_(context.metrics),
      target_(target),
      give_up_at_(give_up_at),
      events_(events),
      resolver_(context.resolver),
      deadline_(loop_, [this] { on_deadline(); }) {}

void UpstreamOpener::start() {
  connect();
}

UpstreamConnection UpstreamOpener::take(LegEvents& events) {
  over_ = true;
  connector_.reset();
  deadline_.stop();
  UpstreamConnection opened{
      .leg = std::move(leg_),
      .server = server_,
      .address_index = address_index_,
      .greeting = role_ == nullptr ? std::string{} : role_->greeting(),
      .fallback_reason = role_ == nullptr ? std::string{} : role_->fallback_reason(),
      .connected_at = connected_at_};
  if (opened.leg != nullptr) opened.leg->set_events(events);
  return opened;
}

std::string_view UpstreamOpener::state() const noexcept {
  return role_ == nullptr ? std::string_view{} : role_->state();
}

std::string_view UpstreamOpener::refusal() const noexcept {
  return role_ == nullptr ? std::string_view{} : std::string_view{role_->greeting()};
}

// --- Stages and deadlines ------------------------------------------------------------------------

void UpstreamOpener::enter(OpeningStage stage) {
  stage_ = stage;
  events_.on_opening(stage);
  arm_deadline();
}

std::chrono::milliseconds UpstreamOpener::time_left() const {
  return std::max(std::chrono::milliseconds{0}, give_up_at_ - loop_.now());
}

void UpstreamOpener::arm_deadline() {
  const auto left = time_left();
  deadline_.start(stage_ == OpeningStage::handshake
                      ? std::min(target_.service().config.timeouts.handshake, left)
                      : left);
}

void UpstreamOpener::on_deadline() {
  switch (stage_) {
    case OpeningStage::connecting:
      metrics_.connect_failed(Errc::timeout);
      give_up(Error{Errc::timeout, "timed out while connecting to the server"});
      return;
    case OpeningStage::handshake:
      // The next address may do better, as long as there is time at all.
      attempt_failed(Error{Errc::timeout, "the TLS handshake with the server timed out"});
      return;
    case OpeningStage::prelude:
      if (awaits_push_ && time_left() > std::chrono::milliseconds{0}) {
        ask_for_push();
      } else {
        give_up(Error{Errc::timeout, "the server did not answer in time"});
      }
      return;
  }
}

// --- One attempt ---------------------------------------------------------------------------------

void UpstreamOpener::connect() {
  enter(OpeningStage::connecting);
  const auto patience = target_.service().config.timeouts.connect;
  const auto done = [this](Result<net::Stream::Ptr> stream) { on_connected(std::move(stream)); };
  if (const auto* source = target_.source()) {
    connector_ =
        std::make_unique<net::Connector>(loop_, resolver_, address(), patience, *source, done);
  } else {
    connector_ = std::make_unique<net::Connector>(loop_, resolver_, address(), patience, done);
  }
  connector_->start();
}

void UpstreamOpener::on_connected(Result<net::Stream::Ptr> stream) {
  if (!stream) {
    metrics_.connect_failed(stream.error().code);
    attempt_failed(stream.error());
    return;
  }
  connected_at_ = net::Loop::precise_now();
  server_ = net::to_string((*stream)->peer());
  if (const auto allowed = target_.connected(**stream); !allowed) {
    give_up(allowed.error());
    return;
  }
  leg_ = std::make_unique<Leg>(std::move(*stream), static_cast<LegEvents&>(*this));
  connector_.reset();
  leg_->write(preface_);

  const TlsMode mode = target_.upstream().tls;
  if (relays_from_first_byte(target_.service().config.downstream.tls, mode)) {
    report_opened();
    return;
  }
  if (mode == TlsMode::implicit) {
    start_tls();
  } else {
    start_role();
  }
}

void UpstreamOpener::start_role() {
  enter(OpeningStage::prelude);
  role_ = target_.service().protocol->upstream(role_settings(target_, target_.upstream().tls));
  std::string out;
  const auto verdict = role_->begin(out);
  on_verdict(verdict, out);
  if (!over_ && stage_ == OpeningStage::prelude && leg_ != nullptr) leg_->start();
}

void UpstreamOpener::run_role() {
  std::string out;
  const auto step = role_->step(leg_->input(), out);
  if (!step) {
    attempt_failed(step.error());
    return;
  }
  leg_->consume(step->consumed);
  on_verdict(step->verdict, out);
}

void UpstreamOpener::on_verdict(Result<proto::Verdict> verdict, std::string_view to_server) {
  if (!verdict) {
    attempt_failed(verdict.error());
    return;
  }
  leg_->write(to_server);
  switch (*verdict) {
    case proto::Verdict::need_more:
      return;
    case proto::Verdict::start_tls:
      start_tls();
      return;
    case proto::Verdict::greeted:
    case proto::Verdict::relay:
      report_opened();
      return;
    case proto::Verdict::finish:
      give_up(Error{Errc::closed, "the server has nothing to say"});
      return;
  }
}

void UpstreamOpener::start_tls() {
  auto engine = tls::Engine::client(target_.tls(), loop_.pool(),
                                    config::peer_name(target_.upstream(), address()), server_);
  if (!engine) {
    attempt_failed(engine.error());
    return;
  }
  const auto lane = target_.service().lane(Side::upstream);
  enter(OpeningStage::handshake);
  handshake_at_ = net::Loop::precise_now();
  if (role_ == nullptr) {
    leg_->start_implicit_tls(std::move(*engine), lane);
    if (!over_ && stage_ == OpeningStage::handshake) leg_->start();
    return;
  }
  auto started = leg_->start_tls({}, std::move(*engine), lane);
  if (!started) attempt_failed(started.error());
}

void UpstreamOpener::ask_for_push() {
  awaits_push_ = false;
  arm_deadline();
  std::string out;
  const auto verdict = role_->on_quiet(out);
  on_verdict(verdict, out);
}

void UpstreamOpener::count_failure(const Error& error) {
  if (error.code == Errc::attack) {
    metrics_.attacked(Side::upstream, error.attack);
  } else if (stage_ == OpeningStage::handshake) {
    metrics_.handshake_failed(Side::upstream, error.code);
  }
}

void UpstreamOpener::attempt_failed(const Error& error) {
  if (over_) return;
  count_failure(error);
  const bool another = address_index_ + 1 < target_.addresses().size();
  if (!another || time_left() == std::chrono::milliseconds{0}) {
    give_up(error);
    return;
  }
  events_.on_attempt_failed(error);
  ++address_index_;
  awaits_push_ = false;
  connector_.reset();
  role_.reset();
  if (leg_ != nullptr) {
    leg_->finish();
    retired_ = std::move(leg_);  // we may be inside one of its calls
  }
  connect();
}

void UpstreamOpener::report_opened() {
  over_ = true;
  deadline_.stop();
  events_.on_opened();
}

void UpstreamOpener::give_up(const Error& error) {
  over_ = true;
  deadline_.stop();
  events_.on_not_opened(error);
}

// --- Events of the leg ---------------------------------------------------------------------------

void UpstreamOpener::on_leg_input(Leg& leg) {
  if (!is_current(leg) || stage_ != OpeningStage::prelude) return;
  if (std::exchange(awaits_push_, false)) arm_deadline();
  run_role();
}

void UpstreamOpener::on_leg_secured(Leg& leg) {
  if (!is_current(leg) || stage_ != OpeningStage::handshake) return;
  const tls::Facts facts = leg.facts();
  metrics_.handshake_done({.side = Side::upstream,
                           .version = facts.number,
                           .resumed = facts.resumed,
                           .took = net::Loop::precise_now() - handshake_at_});
  if (role_ == nullptr) {
    start_role();
    return;
  }
  enter(OpeningStage::prelude);
  std::string out;
  const auto verdict = role_->secured(out);
  awaits_push_ = verdict && *verdict == proto::Verdict::need_more;
  if (awaits_push_) deadline_.start(std::min(kPushWait, time_left()));
  on_verdict(verdict, out);
}

void UpstreamOpener::on_leg_end(Leg& leg, LegEnd, std::string_view how) {
  if (!is_current(leg)) return;
  attempt_failed(Error{Errc::closed, "the server closed the connection", std::string{how}});
}

void UpstreamOpener::on_leg_failed(Leg& leg, Error error) {
  if (is_current(leg)) attempt_failed(error);
}

}  // namespace starttls::session
