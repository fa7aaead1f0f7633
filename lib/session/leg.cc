#include "lib/session/leg.h"

#include <algorithm>
#include <utility>

#include "lib/base/secret.h"

namespace starttls::session {

Leg::Leg(net::Stream::Ptr stream, LegEvents& events) noexcept
    : stream_(std::move(stream)), events_(&events), input_(stream_->loop().pool()) {
  stream_->set_events(this);
}

void Leg::start() {
  read();
}

void Leg::read() {
  if (paused_ || input_full_ || waiting_step_ != nullptr) return;
  std::size_t size = delivery_ == Delivery::relay ? net::kReadSlab : kPreludeRead;
  // Ciphertext is only of use as a whole record, so only clear text is limited.
  if (delivery_ == Delivery::collect && security_ == Security::clear) {
    size = std::min(size, input_limit_ - input_.size());
  }
  stream_->start_reading(size);
}

void Leg::pause_reading() noexcept {
  paused_ = true;
  stream_->stop_reading();
}

void Leg::resume_reading() {
  paused_ = false;
  read();
}

void Leg::consume(std::size_t bytes) {
  if (delivery_ == Delivery::discard) return;  // `finish` has dropped the input
  input_.consume(bytes);
  read_as_limited();
}

void Leg::limit_input(std::size_t bytes) {
  input_limit_ = bytes;
  read_as_limited();
}

/// Stops reading at the limit, and goes on below it.
void Leg::read_as_limited() {
  const bool was_full = std::exchange(input_full_, input_.size() >= input_limit_);
  if (input_full_) {
    stream_->stop_reading();
  } else if (was_full) {
    read();
  }
}

void Leg::start_relay() {
  delivery_ = Delivery::relay;
  std::string waiting = input_.take();
  input_full_ = false;
  if (!waiting.empty()) events_->on_leg_data(*this, std::as_bytes(std::span{waiting}));
  wipe(waiting);             // it may be a login
  if (!peer_ended_) read();  // with the larger slab
}

/// Takes the bytes that came before the handshake began. They are a part of the handshake, and must
/// not be read after it (A1 to A5, B2 to B7).
std::string Leg::take_handshake_input() {
  return input_.take();
}

void Leg::start_implicit_tls(std::unique_ptr<tls::Engine> engine, net::TurnBudget::Lane lane) {
  engine_ = std::move(engine);
  lane_ = lane;
  security_ = Security::handshaking;
  const std::string waiting = take_handshake_input();
  input_full_ = false;
  step_handshake(std::as_bytes(std::span{waiting}));
}

/// True if the peer has sent more than its STARTTLS, or more than its go-ahead. That is an attack:
/// a machine on the path may have added the bytes (A1 to A5, B2 to B7, CVE-2011-0411).
bool Leg::has_clear_input() const noexcept {
  return !input_.empty() || stream_->has_pending_input();
}

Result<> Leg::start_tls(std::string_view go_ahead, std::unique_ptr<tls::Engine> engine,
                        net::TurnBudget::Lane lane) {
  if (has_clear_input()) {
    return fail(Errc::attack, "unencrypted bytes after STARTTLS", peer_words(input_.view()));
  }
  write(go_ahead);
  start_implicit_tls(std::move(engine), lane);
  return {};
}

/// Does a step now or in a later turn. In a storm clients are served in turns; see net::TurnBudget.
void Leg::step_handshake(std::span<const std::byte> wire) {
  auto& loop = stream_->loop();
  if (loop.turn_budget().has_room(loop.turn())) {
    advance_handshake(wire);
    return;
  }
  stream_->stop_reading();
  const auto on_turn = [this] {
    const auto step = std::move(waiting_step_);
    advance_handshake(std::as_bytes(std::span{step->wire.view()}));
    read();
  };
  waiting_step_.reset(
      new WaitingStep{PooledText{loop.pool()}, {loop.turn_budget(), lane_, on_turn}});
  waiting_step_->wire.append(as_text(wire));
}

/// True if the client has left after its hello. The answer takes a signature, the most expensive
/// work that a flood can make us do (R4). A later step is cheap, and may hold an alert that says
/// why.
///
/// Only the client's end counts, not its last byte: a flood can put bytes before it that we have
/// not read. A client that has only ended its own direction has left as well. It cannot answer our
/// hello, so its handshake cannot succeed.
bool Leg::is_client_gone() const noexcept {
  return lane_.side == Side::downstream && !hello_answered_ && stream_->has_peer_ended();
}

void Leg::advance_handshake(std::span<const std::byte> wire) {
  if (!wire.empty() && is_client_gone()) {
    peer_ended_ = stream_->is_over();  // otherwise the rest is read, so that no reset goes out
    fail_tls(Error{Errc::handshake, "connection closed during the TLS handshake",
                   "the client closed the connection after its ClientHello"});
    return;
  }
  tls::WireOut out{stream_->loop().wire_slab()};
  const auto progress =
      stream_->loop().turn_budget().run([&] { return engine_->handshake(wire, out); });
  stream_->write(out.written());
  if (!out.written().empty()) hello_answered_ = true;
  if (!progress) {
    fail_tls(progress.error());
    return;
  }
  if (!progress->done) {
    // A peer that has left cannot go on, and the end of its direction is not reported again.
    if (peer_ended_) fail_tls(Error{Errc::handshake, "connection closed during the TLS handshake"});
    return;
  }
  security_ = Security::secured;
  events_->on_leg_secured(*this);
  wire = wire.subspan(progress->consumed);
  if (!wire.empty()) open(wire);
}

void Leg::on_stream_data(std::span<std::byte> bytes) {
  if (delivery_ == Delivery::discard || peer_ended_) return;
  switch (security_) {
    case Security::clear:
      deliver(bytes);
      return;
    case Security::handshaking:
      step_handshake(bytes);
      return;
    case Security::secured:
      open(bytes);
      return;
    case Security::failed:
      return;
  }
}

void Leg::open(std::span<const std::byte> wire) {
  // One pass is enough as long as the plain slab holds more than the read slab. With the loop that
  // is a matter of speed, not of correctness.
  for (;;) {
    const auto plain = stream_->loop().plain_slab();
    tls::WireOut out{stream_->loop().wire_slab()};
    tls::OpenedRecords opened;
    const auto result = engine_->open(wire, plain, out, opened);
    stream_->write(out.written());  // before the session writes by way of the same slab
    wire = wire.subspan(opened.consumed);
    if (opened.produced > 0) deliver(plain.first(opened.produced));
    if (delivery_ == Delivery::discard) return;
    if (!result) {
      fail_tls(result.error());
      return;
    }
    if (opened.close_notify) {
      peer_ended_ = true;
      events_->on_leg_end(*this, LegEnd::clean, "close_notify");
      return;
    }
    if (opened.produced < plain.size() && (wire.empty() || opened.consumed == 0)) return;
  }
}

void Leg::deliver(std::span<std::byte> plaintext) {
  if (delivery_ == Delivery::relay) {
    events_->on_leg_data(*this, plaintext);
    return;
  }
  input_.append(as_text(plaintext));
  news_size_ = plaintext.size();
  // The slab outlives the session, and a password may be in it.
  wipe({reinterpret_cast<char*>(plaintext.data()), plaintext.size()});
  if (input_.size() >= input_limit_) {
    read_as_limited();
  } else {
    read();  // smaller reads from now on
  }
  events_->on_leg_input(*this);
}

void Leg::fail_tls(Error error) {
  security_ = Security::failed;
  events_->on_leg_failed(*this, std::move(error));
}

void Leg::write(std::span<const std::byte> plaintext) {
  if (security_ == Security::clear) {
    stream_->write(plaintext);
    return;
  }
  if (security_ != Security::secured || write_ended_) return;
  while (!plaintext.empty()) {
    const auto piece = plaintext.first(std::min(plaintext.size(), net::kPlainSlab));
    tls::WireOut out{stream_->loop().wire_slab()};
    const auto result = engine_->seal(piece, out);
    stream_->write(out.written());
    if (!result) {
      fail_tls(result.error());
      return;
    }
    plaintext = plaintext.subspan(piece.size());
  }
}

void Leg::send_close_notify() {
  if (security_ != Security::secured) return;
  tls::WireOut out{stream_->loop().wire_slab()};
  engine_->close(out);
  stream_->write(out.written());
}

void Leg::end_write() {
  if (write_ended_) return;
  send_close_notify();
  write_ended_ = true;
  stream_->shutdown_write();
}

void Leg::finish() {
  if (delivery_ == Delivery::discard) return;
  end_write();
  delivery_ = Delivery::discard;
  input_.clear();
  input_full_ = false;
  paused_ = false;
  waiting_step_.reset();
  read();  // to see the peer's FIN
  report_if_finished();
}

void Leg::on_stream_end(const Error* error) {
  const bool known = std::exchange(peer_ended_, true);
  if (delivery_ == Delivery::discard) {
    report_if_finished();
    return;
  }
  if (known) return;
  const std::string_view how = error != nullptr ? std::string_view{error->reason} : "end of file";
  switch (security_) {
    case Security::clear:
      events_->on_leg_end(*this, error != nullptr ? LegEnd::cut : LegEnd::clean, how);
      return;
    case Security::handshaking:
      fail_tls(
          Error{Errc::handshake, "connection closed during the TLS handshake", std::string{how}});
      return;
    case Security::secured:
      // FIN without close_notify: any machine on the path can send one (RFC 8446 §6.1).
      events_->on_leg_end(*this, LegEnd::cut, how);
      return;
    case Security::failed:
      return;
  }
}

void Leg::on_stream_burst(std::size_t bytes) {
  if (delivery_ == Delivery::relay && is_clear()) events_->on_leg_burst(*this, bytes);
}

void Leg::on_stream_drained() {
  events_->on_leg_drained(*this);
  report_if_finished();
}

void Leg::on_stream_write_failed(Error error) {
  if (delivery_ == Delivery::discard) {
    peer_ended_ = true;
    report_if_finished();
    return;
  }
  events_->on_leg_write_failed(*this, std::move(error));
}

void Leg::report_if_finished() {
  if (finished()) events_->on_leg_finished(*this);
}

}  // namespace starttls::session
