#include "tools/mail_server/connection.h"

#include <algorithm>
#include <utility>

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <uv.h>

#include "lib/tls/engine.h"
#include "tools/mail_server/pattern.h"

namespace starttls::bench {
namespace {

/// The time that a client may take to answer our FIN.
constexpr std::chrono::seconds kLinger{2};
/// Pieces of the pattern that are written before other connections have a turn.
constexpr int kPiecesPerTurn = 4;

std::string_view as_text(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

Tls initial_tls(TlsMode mode) noexcept {
  switch (mode) {
    case TlsMode::none:
      return Tls::none;
    case TlsMode::opportunistic:
      return Tls::offered;
    case TlsMode::starttls:
      return Tls::required;
    case TlsMode::implicit:
      return Tls::active;
  }
  return Tls::none;
}

/// Collects small writes into full segments. The reader then finds many records at once, as from a
/// server that writes several with one call. Switched off, it sends the rest.
void set_cork(net::Stream& stream, int on) noexcept {
  uv_os_fd_t fd = -1;
  if (uv_fileno(reinterpret_cast<uv_handle_t*>(stream.raw()), &fd) != 0) return;
  ::setsockopt(fd, IPPROTO_TCP, TCP_CORK, &on, sizeof(on));
}

}  // namespace

Connection::Connection(const Settings& settings, net::Stream::Ptr stream, OnEnded on_ended)
    : settings_(settings),
      on_ended_(std::move(on_ended)),
      loop_(stream->loop()),
      leg_(std::move(stream), static_cast<LegEvents&>(*this)),
      protocol_(settings.make_protocol(initial_tls(settings.tls), settings.mailbox)) {}

// The leg collects bytes only as long as STARTTLS may come, because the rule of STARTTLS needs them
// there. After that the bytes are worked on in the buffer they were read into.
void Connection::start() {
  if (settings_.tls == TlsMode::implicit) {
    start_tls();
  } else {
    greet();
    if (settings_.tls == TlsMode::none) leg_.start_relay();
  }
  leg_.start();
}

void Connection::greet() {
  protocol_->greet(reply_);
  leg_.write(std::exchange(reply_, {}));
}

void Connection::start_tls() {
  auto engine = tls::Engine::server(settings_.context, loop_.pool());
  if (!engine) {
    finish();
    return;
  }
  if (settings_.tls == TlsMode::implicit) {
    leg_.start_implicit_tls(std::move(*engine), {});
    return;
  }
  const std::string go_ahead = std::exchange(reply_, {});
  if (!leg_.start_tls(go_ahead, std::move(*engine), {})) {
    protocol_->refuse_injection(reply_);
    leg_.write(reply_);
    finish();
  }
}

void Connection::on_leg_secured(session::Leg&) {
  want_ = Want::input;
  if (settings_.tls == TlsMode::implicit) {
    greet();
  } else {
    protocol_->secured(reply_);
    leg_.write(std::exchange(reply_, {}));
  }
  leg_.start_relay();
}

void Connection::on_leg_input(session::Leg&) {
  if (busy()) return;
  leg_.consume(run(leg_.input()));
  if (want_ == Want::start_tls) start_tls();
}

void Connection::on_leg_data(session::Leg&, std::span<const std::byte> plaintext) {
  if (want_ == Want::close) return;
  if (busy() || !waiting_.empty()) {
    waiting_ += as_text(plaintext);
    run_waiting();
    return;
  }
  const auto input = as_text(plaintext);
  waiting_ = input.substr(run(input));
}

void Connection::run_waiting() {
  if (busy() || waiting_.empty()) return;
  const std::string input = std::exchange(waiting_, {});
  waiting_ = input.substr(run(input));
}

/// Lets the protocol work on `input` until it needs more, or until another step has to come first.
/// Replies go out in one piece, except a go-ahead, which `start_tls` writes.
std::size_t Connection::run(std::string_view input) {
  std::size_t consumed = 0;
  std::string reply;
  while (consumed < input.size()) {
    reply.clear();
    const Step step = protocol_->step(input.substr(consumed), reply);
    consumed += step.consumed;
    want_ = step.want;
    pattern_bytes_ = step.bytes;
    if (want_ == Want::start_tls) break;
    reply_ += reply;
    if (want_ != Want::input || step.consumed == 0) break;
  }
  if (!reply_.empty()) leg_.write(std::exchange(reply_, {}));
  switch (want_) {
    case Want::input:
      break;
    case Want::start_tls:
      reply_ = std::move(reply);
      break;
    case Want::send_pattern:
      pattern_offset_ = 0;
      loop_.defer([this] { send_pattern(); });
      break;
    case Want::close:
      finish();
      break;
  }
  balance();
  return consumed;
}

void Connection::send_pattern() {
  if (want_ != Want::send_pattern) return;
  if (settings_.record != 0) set_cork(leg_.stream(), 1);
  for (int i = 0; i < kPiecesPerTurn && pattern_bytes_ > 0 && leg_.queued() == 0; ++i) {
    const auto piece = pattern_at(pattern_offset_, pattern_bytes_);
    pattern_offset_ += piece.size();
    pattern_bytes_ -= piece.size();
    const std::size_t record = settings_.record == 0 ? piece.size() : settings_.record;
    for (std::size_t at = 0; at < piece.size(); at += record) leg_.write(piece.substr(at, record));
  }
  if (pattern_bytes_ == 0) {
    if (settings_.record != 0) set_cork(leg_.stream(), 0);
    want_ = Want::input;
    run_waiting();
    on_leg_input(leg_);  // as long as STARTTLS may come, pipelined input waits in the leg
    balance();
  } else if (leg_.queued() == 0) {
    loop_.defer([this] { send_pattern(); });
  }
}

/// Stops reading commands while the client does not read its replies.
void Connection::balance() {
  if (want_ == Want::close) return;
  if (want_ == Want::send_pattern || leg_.queued() > 0) {
    leg_.pause_reading();
  } else {
    leg_.resume_reading();
  }
}

void Connection::on_leg_drained(session::Leg&) {
  send_pattern();
  balance();
}

void Connection::on_leg_end(session::Leg&, session::LegEnd, std::string_view) {
  finish();
}
void Connection::on_leg_write_failed(session::Leg&, Error) {
  finish();
}
void Connection::on_leg_failed(session::Leg&, Error) {
  finish();
}
void Connection::on_leg_finished(session::Leg&) {
  end();
}

void Connection::finish() {
  if (linger_) return;
  want_ = Want::close;
  linger_.emplace(loop_, [this] { end(); });
  linger_->start(kLinger);
  leg_.finish();
}

void Connection::stop() {
  want_ = Want::close;
  end();
}

void Connection::end() {
  if (std::exchange(ended_, true)) return;
  on_ended_(*this);
}

}  // namespace starttls::bench
