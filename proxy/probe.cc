#include "proxy/probe.h"

#include <algorithm>
#include <chrono>
#include <memory>
#include <string_view>
#include <utility>

#include "lib/base/ascii.h"
#include "lib/base/random.h"
#include "lib/net/address.h"
#include "lib/net/connector.h"
#include "lib/net/loop.h"
#include "lib/net/signals.h"
#include "lib/net/timer.h"
#include "lib/session/leg.h"
#include "lib/session/policy.h"
#include "lib/session/session.h"

namespace starttls {
namespace {

/// Whole lines, escaped, as many as a person reads.
std::vector<std::string> lines_of(std::string_view text) {
  constexpr std::size_t kMaxLines = 200;
  std::vector<std::string> lines;
  while (!text.empty() && lines.size() < kMaxLines) {
    auto line = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(line.size() + 1, text.size()));
    if (line.ends_with('\r')) line.remove_suffix(1);
    lines.push_back(ascii::escape(line));
  }
  return lines;
}

/// One connection, from connect to goodbye.
class Probe final : session::LegEvents {
 public:
  explicit Probe(const session::Service& service)
      : service_(service),
        query_(service.protocol->capabilities),
        deadline_(loop_,
                  [this] {
                    fail(Error{Errc::timeout, "the server did not answer in time"});
                  }),
        quiet_(loop_, [this] { on_quiet(); }) {}

  ProbeReport run();

 private:
  /// What the server's words are an answer to.
  enum class Stage : std::uint8_t { role, clear_query, query };

  void on_connected(Result<net::Stream::Ptr> stream);
  void start_role();
  void start_tls();
  void run_role();
  void on_verdict(Result<proto::Verdict> verdict, std::string_view to_server);
  void ask(Stage stage);
  void on_answer();
  void on_quiet();
  void note_clear_dialogue();
  void accept();
  void fail(Error error);
  void end();

  void on_leg_input(session::Leg& leg) override;
  void on_leg_data(session::Leg&, std::span<const std::byte>) override {}
  void on_leg_secured(session::Leg& leg) override;
  void on_leg_end(session::Leg&, session::LegEnd, std::string_view how) override {
    fail(Error{Errc::closed, "the server closed the connection", std::string(how)});
  }
  void on_leg_drained(session::Leg&) override {}
  void on_leg_write_failed(session::Leg&, Error error) override { fail(std::move(error)); }
  void on_leg_failed(session::Leg&, Error error) override { fail(std::move(error)); }
  void on_leg_finished(session::Leg&) override {}

  [[nodiscard]] const Address& address() const { return service_.config.upstream.address.front(); }
  [[nodiscard]] TlsMode mode() const { return service_.config.upstream.tls; }

  const session::Service& service_;
  const proto::CapabilityQuery& query_;
  ProbeReport report_;
  net::Loop loop_;
  net::Timer deadline_;
  net::Timer quiet_;
  std::unique_ptr<net::Connector> connector_;
  std::unique_ptr<session::Leg> leg_;
  std::unique_ptr<proto::UpstreamRole> role_;
  Stage stage_ = Stage::role;
  std::string heard_;  // by the role, since the leg is as secure as it is
  std::string held_;   // the role's STARTTLS, until we have asked for the list in the clear
  bool ended_ = false;
};

ProbeReport Probe::run() {
  net::ignore_broken_pipes();
  const auto& upstream = service_.config.upstream;
  report_.service = service_.config.protocol;
  report_.address = to_string(address());
  report_.tls = name(mode());
  report_.verify = upstream.verify == config::Verify::full ? "full"
                   : upstream.pins.empty()                 ? "none"
                                                           : "pin";
  report_.server_name = config::peer_name(upstream, address());
  deadline_.start(service_.config.timeouts.prelude);
  connector_ = std::make_unique<net::Connector>(
      loop_, address(), service_.config.timeouts.connect,
      [this](Result<net::Stream::Ptr> stream) { on_connected(std::move(stream)); });
  connector_->start();
  loop_.run();
  leg_.reset();
  connector_.reset();
  return std::move(report_);
}

void Probe::on_connected(Result<net::Stream::Ptr> stream) {
  if (!stream) {
    fail(stream.error());
    return;
  }
  report_.peer = net::to_string((*stream)->peer());
  leg_ = std::make_unique<session::Leg>(std::move(*stream), static_cast<LegEvents&>(*this));
  if (mode() == TlsMode::implicit) {
    start_tls();
  } else {
    start_role();
  }
  if (!ended_) leg_->start();
}

void Probe::start_role() {
  role_ = service_.protocol->upstream({.downstream = TlsMode::none,
                                       .upstream = mode(),
                                       .hostname = service_.hostname,
                                       .tag = random_token()});
  std::string out;
  const auto verdict = role_->begin(out);
  on_verdict(verdict, out);
}

void Probe::start_tls() {
  auto engine = tls::Engine::client(service_.upstream_tls, report_.server_name);
  if (!engine) {
    fail(engine.error());
    return;
  }
  (*engine)->keep_peer_chain();
  if (role_ == nullptr) {
    leg_->start_implicit_tls(std::move(*engine));
  } else if (auto started = leg_->start_tls({}, std::move(*engine)); !started) {
    fail(started.error());
  }
}

void Probe::on_leg_input(session::Leg&) {
  if (ended_) return;
  quiet_.stop();
  if (stage_ == Stage::role) {
    run_role();
  } else {
    on_answer();
  }
}

void Probe::run_role() {
  std::string out;
  const auto step = role_->step(leg_->input(), out);
  if (!step) {
    heard_ += leg_->input();  // the words that were wrong are among them
    note_clear_dialogue();
    fail(step.error());
    return;
  }
  const bool greeting = heard_.empty();
  heard_ += leg_->input().substr(0, step->consumed);
  leg_->consume(step->consumed);

  const bool asks_for_list = !query_.command.empty() && out.starts_with(query_.command);
  if (!out.empty() && !asks_for_list) note_clear_dialogue();  // what follows is about STARTTLS
  // Where the role upgrades straight from the greeting, people still want to see the list.
  if (greeting && !out.empty() && !asks_for_list && !query_.command.empty()) {
    held_ = std::move(out);
    ask(Stage::clear_query);
    return;
  }
  on_verdict(step->verdict, out);
}

void Probe::on_verdict(Result<proto::Verdict> verdict, std::string_view to_server) {
  if (!verdict) {
    fail(verdict.error());
    return;
  }
  leg_->write(to_server);
  switch (*verdict) {
    case proto::Verdict::need_more:
      return;
    case proto::Verdict::start_tls:
      note_clear_dialogue();
      start_tls();
      return;
    case proto::Verdict::greeted:
    case proto::Verdict::relay:
    case proto::Verdict::finish:
      note_clear_dialogue();
      report_.fallback = ascii::escape(role_->fallback_reason());
      if (query_.command.empty()) {
        report_.capabilities = lines_of(role_->greeting());
        accept();
      } else {
        ask(Stage::query);
      }
  }
}

/// Greeting, and the list where the role has asked for one itself.
void Probe::note_clear_dialogue() {
  if (leg_->secured() && mode() != TlsMode::implicit) return;
  const auto lines = lines_of(heard_);
  if (lines.empty() || !report_.greeting.empty()) return;
  const bool one_reply = query_.command.empty();
  const auto first = one_reply ? std::size_t{0} : std::size_t{1};
  report_.greeting.assign(lines.begin(), lines.begin() + static_cast<std::ptrdiff_t>(first));
  if (one_reply) report_.greeting = {lines.back()};
  if (report_.clear_capabilities.empty() && !leg_->secured()) {
    report_.clear_capabilities.assign(lines.begin() + static_cast<std::ptrdiff_t>(first),
                                      lines.end());
  }
}

void Probe::ask(Stage stage) {
  stage_ = stage;
  std::string command(query_.command);
  if (query_.says_hostname) command += ' ' + service_.hostname;
  leg_->write(command + "\r\n");
}

void Probe::on_answer() {
  const auto input = leg_->input();
  if (!query_.complete(input)) {
    if (input.size() >= session::Leg::kMaxInput) {
      fail(Error{Errc::protocol, "server sent a reply that is too long"});
    }
    return;
  }
  auto lines = lines_of(input);
  leg_->consume(input.size());
  if (stage_ == Stage::query) {
    report_.capabilities = std::move(lines);
    accept();
    return;
  }
  report_.clear_capabilities = std::move(lines);
  stage_ = Stage::role;
  leg_->write(std::exchange(held_, {}));
}

void Probe::on_leg_secured(session::Leg&) {
  report_.facts = leg_->facts();
  report_.chain = leg_->peer_chain();
  if (role_ == nullptr) {
    start_role();
    return;
  }
  heard_.clear();
  std::string out;
  const auto verdict = role_->secured(out);
  if (verdict && *verdict == proto::Verdict::need_more) quiet_.start(session::Session::kPushWait);
  on_verdict(verdict, out);
}

void Probe::on_quiet() {
  std::string out;
  const auto verdict = role_->on_quiet(out);
  on_verdict(verdict, out);
}

void Probe::accept() {
  leg_->write(std::string(query_.goodbye) + "\r\n");
  end();
}

void Probe::fail(Error error) {
  if (ended_) return;
  if (leg_ != nullptr && report_.chain.empty()) report_.chain = leg_->peer_chain();
  report_.state = role_ == nullptr ? "connecting" : std::string(role_->state());
  report_.error = std::move(error);
  end();
}

void Probe::end() {
  ended_ = true;
  deadline_.stop();
  quiet_.stop();
  if (leg_ != nullptr) leg_->finish();
  loop_.stop();
}

}  // namespace

ProbeReport probe(const session::Service& service) {
  return Probe(service).run();
}

}  // namespace starttls
