#include "proxy/probe/probe.h"

#include <chrono>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "lib/base/ascii.h"
#include "lib/base/random.h"
#include "lib/base/secret.h"
#include "lib/net/address.h"
#include "lib/net/resolver.h"
#include "lib/net/timer.h"
#include "lib/proto/lines.h"
#include "lib/proto/login/login_dialect.h"
#include "lib/proto/login/server_login.h"
#include "lib/proto/proxy_header.h"
#include "lib/session/close_policy.h"
#include "lib/session/credentials/login_facts.h"
#include "lib/session/leg.h"
#include "lib/session/policy.h"
#include "lib/session/upstream/opener.h"
#include "lib/tls/library.h"
#include "proxy/probe/recording_role.h"

namespace starttls {
namespace {

/// A probe of one server: the opening, the question for the capabilities, perhaps a login, and the
/// goodbye.
class Probe final : session::OpenerEvents, session::LegEvents {
 public:
  Probe(net::Loop& loop, std::shared_ptr<const session::Service> service, ProbeOptions options)
      : options_(std::move(options)),
        service_(*service),
        query_(service_.protocol->capabilities),
        loop_(loop),
        target_(std::move(service)),
        deadline_(loop_, [this] { on_deadline(); }) {}

  ProbeReport run();

 private:
  enum class Stage : std::uint8_t {
    opening,  ///< the opener conducts what a session needs
    query,    ///< the server answers our question
    login,    ///< the server answers our login
    goodbye,  ///< the report is complete
  };

  // OpenerEvents
  void on_opening(session::OpeningStage stage) override { opening_stage_ = stage; }
  void on_attempt_failed(const Error&, session::NextAttempt) override {}
  void on_opened() override;
  void on_not_opened(const Error& error) override;

  // LegEvents, once the opener is done.
  void on_leg_input(session::Leg& leg) override;
  void on_leg_data(session::Leg&, std::span<const std::byte>) override {}
  void on_leg_secured(session::Leg&) override {}
  void on_leg_end(session::Leg&, session::LegEnd, std::string_view how) override {
    fail(Error{Errc::closed, "the server closed the connection", std::string(how)});
  }
  void on_leg_drained(session::Leg&) override {}
  /// Does nothing, because the server's last words must still be read. With TLS 1.3 they are the
  /// alert of a server that wants a certificate of ours (RFC 8446 §4.4.2.4).
  void on_leg_write_failed(session::Leg&, Error) override {}
  void on_leg_failed(session::Leg&, Error error) override { fail(std::move(error)); }
  void on_leg_finished(session::Leg&) override { loop_.stop(); }

  [[nodiscard]] std::string proxy_header(net::Stream& stream) const;
  [[nodiscard]] std::string take_connection();
  void on_deadline();
  [[nodiscard]] std::string state() const;
  void on_answer(std::string_view answer);
  void on_login_input();
  void log_in(std::string_view answer);
  void on_login_status(proto::ServerLogin::Status status);
  [[nodiscard]] Result<proto::Credentials> credentials();
  [[nodiscard]] proto::LineRules rules() const { return proto::line_rules(mode(), Errc::protocol); }
  void say_goodbye();
  void fail(Error error);

  [[nodiscard]] const Address& address() const { return service_.config.upstream.address.front(); }
  [[nodiscard]] TlsMode mode() const { return service_.config.upstream.tls; }

  ProbeOptions options_;
  const session::Service& service_;
  const proto::CapabilityQuery& query_;
  ProbeReport report_;
  Heard heard_;
  net::Loop& loop_;
  net::Resolver resolver_{loop_};
  net::WorkPool work_;  // without threads: a probe needs no work
  session::NoPrograms programs_{loop_};
  session::SecretStore secrets_{loop_, resolver_, programs_};
  session::Target target_;
  net::Timer deadline_;
  session::Observation observation_;
  std::unique_ptr<session::UpstreamOpener> opener_;
  std::unique_ptr<session::Leg> leg_;
  session::OpeningStage opening_stage_ = session::OpeningStage::connecting;
  std::optional<proto::ServerLogin> login_;
  Stage stage_ = Stage::opening;
};

ProbeReport Probe::run() {
  const auto& upstream = service_.config.upstream;
  report_.time = UnixTime::of(std::chrono::system_clock::now());
  report_.protocol = service_.config.protocol;
  report_.address = to_string(address());
  report_.tls = name(mode());
  report_.verify = !session::uses_tls(mode())              ? "none"
                   : upstream.verify == Verification::full ? "full"
                   : upstream.pins.empty()                 ? "none"
                                                           : "pin";
  report_.record_cipher = options_.record_cipher;
  report_.post_quantum = upstream.post_quantum;
  report_.support = tls::post_quantum_support();
  report_.server_name = config::peer_name(upstream, address());
  report_.spelling = options_.spelling;
  if (const auto& login = options_.login) {
    report_.login = LoginFacts{.account = login->choice.account,
                               .user = login->choice.user,
                               .wanted = login->choice.mechanism,
                               .token = login->choice.token};
    if (login->choice.token && login->secret) {
      report_.login->token_facts = read_token(login->secret->reveal());
    }
  }
  observation_.wrap_role = [this](std::unique_ptr<proto::UpstreamRole> role) {
    return std::make_unique<RecordingRole>(std::move(role), query_, service_.own_name->text(),
                                           heard_);
  };
  observation_.preface = [this](net::Stream& stream) { return proxy_header(stream); };
  opener_ = std::make_unique<session::UpstreamOpener>(
      session::WorkerContext{loop_, resolver_, work_, secrets_, service_.metrics->of_worker(0)},
      target_, loop_.now() + service_.config.timeouts.prelude, static_cast<OpenerEvents&>(*this),
      &observation_);
  opener_->start();
  loop_.run();
  leg_.reset();
  opener_.reset();
  return std::move(report_);
}

/// Returns the PROXY header. There is no client, only the probe itself. Version 2 can say so
/// (LOCAL).
std::string Probe::proxy_header(net::Stream& stream) const {
  switch (service_.config.upstream.send_proxy) {
    case config::SendProxy::no:
      return {};
    case config::SendProxy::v1:
      return proto::write_proxy_v1({.client = net::ip_endpoint(stream.local()),
                                    .destination = net::ip_endpoint(stream.peer())});
    case config::SendProxy::v2:
      return proto::write_proxy_v2({});
  }
  return {};
}

/// Takes the connection that the opener has made, and reports everything that was seen so far.
/// Returns the greeting for a client.
std::string Probe::take_connection() {
  auto opened = opener_->take(*this);
  leg_ = std::move(opened.leg);
  report_.peer = opened.server;
  report_.fallback = ascii::escape(opened.fallback_reason);
  report_.greeting = lines_of(heard_.greeting);
  report_.clear_capabilities = lines_of(heard_.capabilities);
  if (query_.command.empty() && !report_.greeting.empty()) {
    // Without a question, the greeting is the list, and its last line welcomes us.
    if (session::uses_tls(mode()) && mode() != TlsMode::implicit) {
      report_.clear_capabilities = report_.greeting;
    }
    report_.greeting = {report_.greeting.back()};
  }
  if (leg_ != nullptr) {
    report_.chain = leg_->peer_chain();
    if (leg_->secured()) report_.facts = leg_->facts();
  }
  return opened.greeting;
}

void Probe::on_opened() {
  const std::string greeting = take_connection();
  if (query_.command.empty()) {
    on_answer(greeting);
    return;
  }
  stage_ = Stage::query;
  // The server has done all that a session waits for, so the time begins anew.
  deadline_.start(service_.config.timeouts.prelude);
  leg_->write(question(query_, service_.own_name->text()));
}

void Probe::on_not_opened(const Error& error) {
  static_cast<void>(take_connection());
  fail(error);
}

void Probe::on_leg_input(session::Leg&) {
  if (stage_ == Stage::login) on_login_input();
  if (stage_ != Stage::query) return;
  const auto input = leg_->input();
  const auto whole = is_whole_answer(query_, input);
  if (!whole) {
    fail(whole.error());
  } else if (*whole) {
    const std::string answer{input};
    leg_->consume(answer.size());
    on_answer(answer);
  }
}

/// Goes on with the server's list.
void Probe::on_answer(std::string_view answer) {
  report_.capabilities = lines_of(answer);
  if (options_.login) {
    log_in(answer);
  } else {
    say_goodbye();
  }
}

/// Returns the credentials, unless there is no secret, or this leg may not carry it.
Result<proto::Credentials> Probe::credentials() {
  auto& [choice, secret] = *options_.login;
  if (!secret) return starttls::fail(secret.error());
  return session::for_server(proto::Credentials{.user = choice.user,
                                                .secret = std::move(*secret),
                                                .token = choice.token,
                                                .mechanism = choice.mechanism},
                             {service_.config.upstream, address(), leg_->secured()});
}

/// Begins the login. The list that has just come is the one that it chooses from: some servers
/// answer one hello only.
void Probe::log_in(std::string_view answer) {
  const auto& dialect = *service_.protocol->login;
  auto offer = proto::login::offer_in(dialect, answer, ascii::first_word(query_.command), rules());
  if (!offer) {
    fail(offer.error());
    return;
  }
  if (!leg_->input().empty()) {
    fail(Error{Errc::protocol, "server sent a reply that no command asked for"});
    return;
  }
  report_.login->mechanisms = listed_mechanisms(*offer);
  report_.login->native = offer->native && dialect.native != nullptr;
  auto given = credentials();
  if (!given) {
    report_.login->outcome = LoginOutcome::no_secret;
    fail(std::move(given.error()));
    return;
  }
  stage_ = Stage::login;
  deadline_.start(service_.config.timeouts.prelude);
  login_.emplace(dialect, std::move(*given), std::move(*offer), random_token(), rules());
  std::string out;
  const WipeAtEnd wiped(out);
  const auto status = login_->begin(out);
  leg_->write(out);
  on_login_status(status);
}

void Probe::on_login_input() {
  std::string out;
  const WipeAtEnd wiped(out);
  const auto progress = login_->on_input(leg_->input(), out);
  if (!progress) {
    fail(progress.error());
    return;
  }
  leg_->consume(progress->consumed);
  leg_->write(out);
  on_login_status(progress->status);
}

void Probe::on_login_status(proto::ServerLogin::Status status) {
  using Status = proto::ServerLogin::Status;
  auto& facts = *report_.login;
  facts.used = login_->mechanism();
  facts.outcome = LoginOutcome::unanswered;
  if (stage_ == Stage::goodbye || status == Status::going_on) return;  // the write has failed
  facts.code = login_->reply().code;
  facts.text = login_->reply().text;
  facts.status = login_->server_status();
  if (status == Status::succeeded) {
    facts.outcome = LoginOutcome::succeeded;
    say_goodbye();
    return;
  }
  if (status == Status::not_offered) {
    facts.outcome = LoginOutcome::not_offered;
  } else {
    // Without an answer of the server, the secret or the name could not be sent.
    facts.outcome = facts.code.empty() ? LoginOutcome::no_secret : LoginOutcome::refused;
  }
  report_.state = state();
  report_.error = proto::login_failure(*login_, status, proto::ReplyInLog::whole);
  say_goodbye();
}

void Probe::on_deadline() {
  if (stage_ == Stage::query || stage_ == Stage::login) {
    fail(Error{Errc::timeout, "the server did not answer in time"});
  } else {
    loop_.stop();
  }
}

std::string Probe::state() const {
  if (stage_ == Stage::login) return "login";
  if (stage_ != Stage::opening) return "capabilities";
  switch (opening_stage_) {
    case session::OpeningStage::connecting:
      return "connecting";
    case session::OpeningStage::handshake:
      return "TLS handshake";
    case session::OpeningStage::prelude:
      return std::string(opener_->state());
  }
  return {};
}

/// Says goodbye, because a server may log a connection that ends without it.
void Probe::say_goodbye() {
  leg_->write(std::string(query_.goodbye) + "\r\n");
  stage_ = Stage::goodbye;
  deadline_.start(session::ClosePolicy::kLinger);
  leg_->finish();
}

void Probe::fail(Error error) {
  if (stage_ == Stage::goodbye) return;
  report_.state = state();
  report_.error = std::move(error);
  stage_ = Stage::goodbye;
  deadline_.stop();
  if (leg_ != nullptr) leg_->finish();
  loop_.stop();
}

}  // namespace

ProbeReport probe(net::Loop& loop, std::shared_ptr<const session::Service> service,
                  ProbeOptions options) {
  return Probe(loop, std::move(service), std::move(options)).run();
}

}  // namespace starttls
