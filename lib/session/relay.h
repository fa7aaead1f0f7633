#pragma once

// Theory of operation.
//
// A relay is two pipes, one per direction, which know nothing of each other. A pipe reads as long
// as its target takes the bytes. If the target's kernel refuses a byte, the pipe stops the source.
// The source reads again when the target has drained. So each direction holds at most the bytes of
// one read (back-pressure).
//
// Copies of payload, here and below: the kernel copies into and out of the loop's slabs. On a TLS
// 1.3 leg the cipher's own pass takes the payload from slab to slab. A record that a read has cut
// is copied once to a pooled block (RawCodec13). With TLS 1.2, or record_codec = "ssl", the library
// copies each record into its own buffer and out of it once more (SslCodec). An unsent tail is
// copied once to pooled blocks (Stream::write). The pipes copy nothing. If nothing is encrypted,
// the kernel moves a burst from socket to socket without a copy (Stream::splice_to). A pipe does
// not see these bytes, but it sees the burst's last ones.
//
// EOF travels: it ends the write side of the target after all queued bytes, and the opposite pipe
// keeps running (RFC 9293 §3.6, RFC 8446 §6.1). A cut (a TLS leg that ends without close_notify, or
// a reset) is not an EOF. The reaction depends on whether the cut fell inside a line, which the
// pipe knows.

#include <cstddef>
#include <cstdint>
#include <span>

#include "lib/base/side.h"
#include "lib/session/endpoint.h"

namespace starttls::session {

/// One direction of the relay: writes to `to` the bytes that are read from `from`.
class Pipe {
 public:
  Pipe(Endpoint& from, Endpoint& to) noexcept : from_(from), to_(to) {}

  /// Begins: from here on the pipe alone decides when `from` reads. Data may have passed before.
  void begin();
  void on_data(std::span<const std::byte> bytes);
  /// True if bytes may pass from leg to leg, because all earlier ones have gone out.
  [[nodiscard]] bool is_free() const noexcept {
    return state_ == State::open && !paused_ && to_.queued() == 0;
  }
  /// Notes that bytes have passed from leg to leg. More follow: the last ones of a burst are data.
  void on_passed_unseen();
  /// Goes on reading, because `to` has drained.
  void on_drained();
  /// Passes on that `from` has ended its direction cleanly.
  void on_end();
  /// Drops all further bytes, because `to` takes none any more.
  void on_broken();

  /// True if the last byte that passed was not the end of a line.
  [[nodiscard]] bool inside_line() const noexcept { return last_ != std::byte{'\n'}; }
  /// True if no bytes will pass any more.
  [[nodiscard]] bool finished() const noexcept { return state_ != State::open; }

 private:
  enum class State : std::uint8_t { open, ended, broken };

  void hold_back();

  Endpoint& from_;
  Endpoint& to_;
  std::byte last_{'\n'};  // the last one that passed; before the first, a line may begin
  State state_ = State::open;
  bool paused_ = false;
};

/// Both directions between a client and its server.
class Relay {
 public:
  Relay(Endpoint& client, Endpoint& server) noexcept
      : to_server_(client, server), to_client_(server, client) {}

  /// Returns the pipe that reads from the leg of `side`.
  [[nodiscard]] Pipe& from(Side side) noexcept {
    return side == Side::downstream ? to_server_ : to_client_;
  }
  /// Returns the pipe that writes to the leg of `side`.
  [[nodiscard]] Pipe& to(Side side) noexcept {
    return side == Side::downstream ? to_client_ : to_server_;
  }
  [[nodiscard]] bool server_has_ended() const noexcept { return to_client_.finished(); }
  [[nodiscard]] bool finished() const noexcept {
    return to_server_.finished() && to_client_.finished();
  }
  /// Lets the pipes alone decide when the legs read, from here on.
  void begin() {
    to_server_.begin();
    to_client_.begin();
  }

 private:
  Pipe to_server_;
  Pipe to_client_;
};

}  // namespace starttls::session
