#include "proxy/probe/probe.h"

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
#include "lib/net/original_destination.h"
#include "lib/net/resolver.h"
#include "lib/net/signals.h"
#include "lib/net/timer.h"
#include "lib/proto/proxy_header.h"
#include "lib/session/leg.h"
#include "lib/session/policy.h"
#include "lib/session/session.h"
#include "lib/session/upstream/opener.h"

namespace starttls {
namespace {

/// As `ascii::escape`, but nothing here stands between quotes, and a list of ManageSieve is full of
/// them.
std::string escape_line(std::string_view line) {
  constexpr std::size_t kMaxOctets = 1000;  // real lists of IMAP come near it
  const auto shown = line.substr(0, kMaxOctets);
  std::string out;
  for (std::size_t start = 0; start <= shown.size();) {
    const auto quote = std::min(shown.find('"', start), shown.size());
    out += ascii::escape(shown.substr(start, quote - start), kMaxOctets);
    if (quote < shown.size()) out += '"';
    start = quote + 1;
  }
  return shown.size() < line.size() ? out + "..." : out;
}

/// Lines, escaped, as many as a person reads.
std::vector<std::string> lines_of(std::string_view text) {
  constexpr std::size_t kMaxLines = 200;
  std::vector<std::string> lines;
  while (!text.empty()) {
    if (lines.size() == kMaxLines) {
      lines.emplace_back("...");
      break;
    }
    auto line = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(line.size() + 1, text.size()));
    if (line.ends_with('\r')) line.remove_suffix(1);
    lines.push_back(escape_line(line));
  }
  return lines;
}

/// One connection, from connect to goodbye.
class Probe final : session::LegEvents {
 public:
  Probe(net::Loop& loop, const session::Service& service)
      : service_(service),
        query_(service.protocol->capabilities),
        loop_(loop),
        deadline_(loop_, [this] { on_deadline(); }),
        quiet_(loop_, [this] { on_quiet(); }) {}

  ProbeReport run();

 private:
  enum class Stage : std::uint8_t {
    connecting,
    handshake,
    role,         ///< the server's words are for the role
    clear_query,  ///< they answer our question, and the role waits
    query,        ///< they answer our question, and the role is done
    goodbye,      ///< the report is complete
  };

  void on_connected(Result<net::Stream::Ptr> stream);
  [[nodiscard]] std::string proxy_header(net::Stream& stream) const;
  void start_role();
  void start_tls();
  void run_role();
  void on_verdict(Result<proto::Verdict> verdict, std::string_view to_server);
  void ask(Stage stage);
  void on_answer();
  void on_quiet();
  void on_deadline();
  void note_clear_words();
  void accept();
  [[nodiscard]] std::string state() const;
  [[nodiscard]] std::chrono::milliseconds prelude_left() const;
  void fail(Error error);

  void on_leg_input(session::Leg& leg) override;
  void on_leg_data(session::Leg&, std::span<const std::byte>) override {}
  void on_leg_secured(session::Leg& leg) override;
  void on_leg_end(session::Leg&, session::LegEnd, std::string_view how) override {
    fail(Error{Errc::closed, "the server closed the connection", std::string(how)});
  }
  void on_leg_drained(session::Leg&) override {}
  /// What the server has said before it went is still to be read: with TLS 1.3 the alert of one
  /// that wants a certificate of ours (RFC 8446 §4.4.2.4).
  void on_leg_write_failed(session::Leg&, Error) override {}
  void on_leg_failed(session::Leg&, Error error) override { fail(std::move(error)); }
  void on_leg_finished(session::Leg&) override { loop_.stop(); }

  [[nodiscard]] const Address& address() const { return service_.config.upstream.address.front(); }
  [[nodiscard]] TlsMode mode() const { return service_.config.upstream.tls; }

  const session::Service& service_;
  const proto::CapabilityQuery& query_;
  ProbeReport report_;
  net::Loop& loop_;
  net::Resolver resolver_{loop_};
  net::Timer deadline_;
  net::Timer quiet_;
  std::unique_ptr<net::Connector> connector_;
  std::unique_ptr<session::Leg> leg_;
  std::unique_ptr<proto::UpstreamRole> role_;
  Stage stage_ = Stage::connecting;
  std::chrono::milliseconds began_at_{};
  bool greeted_ = false;         // the greeting has been noted
  bool asked_for_list_ = false;  // by the role
  std::string heard_;            // by the role, since it spoke last
  std::string held_;  // the role's STARTTLS, until we have asked for the list in the clear
};

ProbeReport Probe::run() {
  net::ignore_signals_of_writes();
  const auto& upstream = service_.config.upstream;
  report_.protocol = service_.config.protocol;
  report_.address = to_string(address());
  report_.tls = name(mode());
  report_.verify = !session::uses_tls(mode())              ? "none"
                   : upstream.verify == Verification::full ? "full"
                   : upstream.pins.empty()                 ? "none"
                                                           : "pin";
  report_.server_name = config::peer_name(upstream, address());
  began_at_ = loop_.now();
  deadline_.start(prelude_left());
  connector_ = std::make_unique<net::Connector>(
      loop_, resolver_, address(), service_.config.timeouts.connect,
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
  const std::string header = proxy_header(**stream);
  leg_ = std::make_unique<session::Leg>(std::move(*stream), static_cast<LegEvents&>(*this));
  leg_->write(header);
  if (mode() == TlsMode::implicit) {
    start_tls();
  } else {
    start_role();
  }
  if (stage_ != Stage::goodbye) leg_->start();
}

/// There is no client but us: version 2 can say so.
std::string Probe::proxy_header(net::Stream& stream) const {
  switch (service_.config.upstream.send_proxy) {
    case config::SendProxy::no:
      return {};
    case config::SendProxy::v1:
      return proto::write_proxy_v1({.client = net::ip_endpoint(net::local_address(stream)),
                                    .destination = net::ip_endpoint(stream.peer())});
    case config::SendProxy::v2:
      return proto::write_proxy_v2({});
  }
  return {};
}

void Probe::start_role() {
  stage_ = Stage::role;
  role_ = service_.protocol->upstream({.downstream = TlsMode::none,
                                       .upstream = mode(),
                                       .hostname = service_.own_name->text(),
                                       .tag = random_token()});
  std::string out;
  const auto verdict = role_->begin(out);
  on_verdict(verdict, out);
}

void Probe::start_tls() {
  auto engine = tls::Engine::client(service_.upstream_tls, loop_.pool(), report_.server_name);
  if (!engine) {
    fail(engine.error());
    return;
  }
  (*engine)->keep_peer_chain();
  stage_ = Stage::handshake;
  deadline_.start(std::min(service_.config.timeouts.handshake, prelude_left()));
  if (role_ == nullptr) {
    leg_->start_implicit_tls(std::move(*engine), {.side = Side::upstream});
  } else if (auto started = leg_->start_tls({}, std::move(*engine), {.side = Side::upstream});
             !started) {
    fail(started.error());
  }
}

void Probe::on_leg_input(session::Leg&) {
  quiet_.stop();
  switch (stage_) {
    case Stage::role:
      run_role();
      return;
    case Stage::clear_query:
    case Stage::query:
      on_answer();
      return;
    case Stage::connecting:
    case Stage::handshake:
    case Stage::goodbye:
      return;
  }
}

void Probe::run_role() {
  std::string out;
  const auto step = role_->step(leg_->input(), out);
  if (!step) {
    heard_ += leg_->input();  // the words that were wrong are among them
    note_clear_words();
    fail(step.error());
    return;
  }
  heard_ += leg_->input().substr(0, step->consumed);
  leg_->consume(step->consumed);
  if (out.empty()) {
    on_verdict(step->verdict, out);
    return;
  }
  const bool after_greeting = !greeted_;
  note_clear_words();
  asked_for_list_ = !query_.command.empty() && out.starts_with(query_.command);
  // Where the role upgrades straight from the greeting, people still want to see the list.
  if (after_greeting && !asked_for_list_ && !query_.command.empty()) {
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
      start_tls();
      return;
    case proto::Verdict::greeted:
    case proto::Verdict::relay:
    case proto::Verdict::finish:
      note_clear_words();
      report_.fallback = ascii::escape(role_->fallback_reason());
      if (query_.command.empty()) {
        report_.capabilities = lines_of(role_->greeting());
        accept();
      } else {
        ask(Stage::query);
      }
  }
}

/// The greeting, and the list where it is the greeting or the role has asked for it. What the
/// server says about STARTTLS is left to the role.
void Probe::note_clear_words() {
  auto lines = lines_of(std::exchange(heard_, {}));
  const bool upgraded = leg_->secured() && mode() != TlsMode::implicit;
  if (lines.empty() || upgraded) return;
  if (!std::exchange(greeted_, true)) {
    report_.greeting = lines;
    if (!query_.command.empty()) return;
    report_.greeting = {lines.back()};
    if (!session::uses_tls(mode()) || mode() == TlsMode::implicit) return;  // see on_verdict
    report_.clear_capabilities = std::move(lines);
  } else if (std::exchange(asked_for_list_, false)) {
    report_.clear_capabilities = std::move(lines);
  }
}

void Probe::ask(Stage stage) {
  stage_ = stage;
  // The server has done all that a session waits for.
  if (stage == Stage::query) deadline_.start(service_.config.timeouts.prelude);
  std::string command(query_.command);
  if (query_.says_hostname) command += ' ' + service_.own_name->text();
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
  deadline_.start(prelude_left());
  if (role_ == nullptr) {
    start_role();
    return;
  }
  stage_ = Stage::role;
  heard_.clear();
  std::string out;
  const auto verdict = role_->secured(out);
  if (verdict && *verdict == proto::Verdict::need_more) {
    quiet_.start(session::UpstreamOpener::kPushWait);
  }
  on_verdict(verdict, out);
}

void Probe::on_quiet() {
  if (stage_ != Stage::role) return;
  std::string out;
  const auto verdict = role_->on_quiet(out);
  on_verdict(verdict, out);
}

void Probe::on_deadline() {
  switch (stage_) {
    case Stage::connecting:
      fail(Error{Errc::timeout, "timed out while connecting to the server"});
      return;
    case Stage::handshake:
      fail(Error{Errc::timeout, "the TLS handshake with the server timed out"});
      return;
    case Stage::role:
    case Stage::clear_query:
    case Stage::query:
      fail(Error{Errc::timeout, "the server did not answer in time"});
      return;
    case Stage::goodbye:
      loop_.stop();
      return;
  }
}

std::chrono::milliseconds Probe::prelude_left() const {
  const auto end = began_at_ + service_.config.timeouts.prelude;
  return std::max(std::chrono::milliseconds{0}, end - loop_.now());
}

std::string Probe::state() const {
  switch (stage_) {
    case Stage::connecting:
      return "connecting";
    case Stage::handshake:
      return "TLS handshake";
    case Stage::role:
      return std::string(role_->state());
    case Stage::clear_query:
    case Stage::query:
    case Stage::goodbye:
      return "capabilities";
  }
  return {};
}

/// A server that is left in the middle of its goodbye would find that worth a line in its log.
void Probe::accept() {
  leg_->write(std::string(query_.goodbye) + "\r\n");
  stage_ = Stage::goodbye;
  quiet_.stop();
  deadline_.start(session::ClosePolicy::kLinger);
  leg_->finish();
}

void Probe::fail(Error error) {
  if (stage_ == Stage::goodbye) return;
  if (leg_ != nullptr && report_.chain.empty()) report_.chain = leg_->peer_chain();
  report_.state = state();
  report_.error = std::move(error);
  stage_ = Stage::goodbye;
  deadline_.stop();
  quiet_.stop();
  if (leg_ != nullptr) leg_->finish();
  loop_.stop();
}

}  // namespace

ProbeReport probe(net::Loop& loop, const session::Service& service) {
  return Probe(loop, service).run();
}

}  // namespace starttls
