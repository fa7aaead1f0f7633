#pragma once

// A connected byte stream: TCP or unix socket.
//
// A read goes into the loop's read slab and is handled inside the callback, so a stream that waits
// holds no buffer. A write tries the socket at once. Only bytes that the kernel does not take are
// copied to pooled blocks, and at most one uv_write is in flight.
//
// A burst of a peer can pass to another stream unseen, through a pipe of the kernel and without a
// copy (`splice_to`). Its last bytes are always read, so that its owner knows how it ends. Bytes
// that the other kernel does not take are written as usual: the pipe is empty after each call.

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>

#include "lib/base/buffer.h"
#include "lib/base/error.h"
#include "lib/net/address.h"
#include "lib/net/loop.h"

namespace starttls::net {

/// Any libuv stream; libuv's stream types share their first members.
union StreamHandle {
  uv_handle_t any;
  uv_stream_t stream;
  uv_tcp_t tcp;
  uv_pipe_t pipe;
};

/// Events of a stream, for its owner. They always come from the loop, never from inside a call to
/// the stream.
class StreamEvents {
 public:
  /// Hands over bytes in the loop's read slab. They may be changed, and are gone when the call
  /// returns.
  virtual void on_stream_data(std::span<std::byte> bytes) = 0;
  /// Reports that the peer's direction has ended: FIN (`error` is nullptr) or a failure.
  virtual void on_stream_end(const Error* error) = 0;
  /// Reports that the kernel has taken all queued bytes.
  virtual void on_stream_drained() = 0;
  /// Reports that the peer takes no bytes any more; what is written from now on is dropped. Reading
  /// goes on, because bytes that the peer sent before it closed are still there.
  virtual void on_stream_write_failed(Error error) = 0;
  /// Offers that many bytes that wait in the kernel, for `splice_to`. Bytes that do not go there
  /// are read. Comes only after `offer_bursts`.
  virtual void on_stream_burst(std::size_t bytes) { static_cast<void>(bytes); }

 protected:
  ~StreamEvents() = default;
};

/// Turns off the delay of small writes (a delayed-ACK stall is 40 ms a command), and turns on
/// probes for a peer that has vanished. Connections inherit the options from their listening
/// socket.
void set_tcp_options(int fd) noexcept;

class Stream {
 public:
  enum class Kind : std::uint8_t { tcp, unix_socket };
  /// Bytes that one stream may read in a turn of the loop; then others have their turn. A burst may
  /// be larger, since it is not copied.
  static constexpr std::size_t kTurnBudget = 512UL * 1024;

  /// Closes a stream that its owner drops, at any time and from anywhere on the loop's thread. No
  /// event follows. The memory is freed when libuv has released the handle.
  struct Close {
    void operator()(Stream* stream) const noexcept { stream->close(); }
  };
  using Ptr = std::unique_ptr<Stream, Close>;

  /// Bytes that wait in the kernel, from which on they are a burst. Fewer are cheaper to copy.
  static constexpr std::size_t kBurst = 64UL * 1024;
  /// The last bytes of a burst, which are read. They hold the last line.
  static constexpr std::size_t kBurstTail = 4096;

  [[nodiscard]] static Ptr create(Loop& loop, Kind kind) { return Ptr{new Stream(loop, kind)}; }
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;

  using OnConnected = std::function<void(Result<>)>;
  /// Connects; `done` is called from the loop, once, unless the stream is dropped before. Errors:
  /// unreachable, timeout (the kernel's), with the system's words.
  void connect(const SocketAddress& address, OnConnected done);

  void set_events(StreamEvents* events) noexcept { events_ = events; }

  /// Starts reading. `limit` bounds one read: small during a prelude, the whole slab in the relay.
  void start_reading(std::size_t limit = kReadSlab);
  void stop_reading() noexcept;

  /// Reports bursts from here on. Only useful if the owner may pass bytes on unseen.
  void offer_bursts() noexcept { offers_bursts_ = true; }
  /// Passes up to `bytes` that wait here on to `to`, of the same loop, unseen. Returns their
  /// number: 0 if they must be read. Only inside `on_stream_burst`.
  [[nodiscard]] std::size_t splice_to(Stream& to, std::size_t bytes);

  /// Writes, and never blocks. Errors are reported by `on_stream_write_failed`, later.
  void write(std::span<const std::byte> bytes);
  /// Returns the number of bytes that wait for the kernel.
  [[nodiscard]] std::size_t queued() const noexcept { return queue_.size(); }
  /// Returns the number of bytes that wait in libuv. It falls as the kernel takes them, while
  /// `queued` falls only when a write is done.
  [[nodiscard]] std::size_t unsent() const noexcept;
  /// Sends FIN after all queued bytes.
  void shutdown_write();

  /// Closes with RST; no event follows. The owner must still drop the stream.
  void reset() noexcept;

  /// True if bytes of the peer wait in the kernel. Does not read them.
  [[nodiscard]] bool has_pending_input() const noexcept;
  /// True if nothing waits in the kernel: neither bytes nor the connection's end or failure.
  [[nodiscard]] bool is_quiet() const noexcept;
  /// True if the peer's direction is over, by FIN or reset, and nothing of it is left to read.
  [[nodiscard]] bool is_over() const noexcept;
  /// True if the peer has sent its FIN or a reset, even if bytes that it sent before are still
  /// unread.
  [[nodiscard]] bool has_peer_ended() const noexcept;
  /// Returns the number of bytes that the peer's kernel has not acknowledged yet (TCP; otherwise
  /// 0).
  [[nodiscard]] std::size_t unacknowledged() const noexcept;

  /// Returns the peer's address. IPv4 never comes as ::ffff:a.b.c.d.
  [[nodiscard]] SocketAddress peer() const noexcept;
  /// Returns the address at our end; empty (size 0) if the connection is gone.
  [[nodiscard]] SocketAddress local() const noexcept { return local_address(fd()); }

  /// Returns the descriptor, for questions to the kernel; -1: it is closed.
  [[nodiscard]] int fd() const noexcept;
  [[nodiscard]] Loop& loop() noexcept { return loop_; }
  [[nodiscard]] uv_stream_t* raw() noexcept { return &handle_.stream; }
  [[nodiscard]] Kind kind() const noexcept { return kind_; }
  /// Reports a failure that was noted. Called by the loop.
  void on_next_turn();

 private:
  enum class State : std::uint8_t { open, closing, closed };  // the libuv handle's
  enum class Writing : std::uint8_t { open, fin_wanted, fin_sent, failed };

  Stream(Loop& loop, Kind kind);
  ~Stream() = default;
  void close() noexcept;

  void read_now();
  [[nodiscard]] uv_buf_t read_buffer() noexcept;
  [[nodiscard]] std::size_t waiting_burst() noexcept;
  void on_burst();
  void write_from(SplicePipe& pipe);
  [[nodiscard]] std::size_t room() const noexcept;
  void flush();
  void send_fin();
  void fail_writing(int status);
  void on_written(int status);
  void on_read(ssize_t count, const uv_buf_t* buffer);
  [[nodiscard]] int pending_error() const noexcept;  // errno of a failure not reported yet, or 0
  static void on_handle_closed(uv_handle_t* handle) noexcept;
  void report_later();

  StreamHandle handle_{};
  Loop& loop_;
  StreamEvents* events_ = nullptr;
  ByteQueue queue_;
  /// Memory that libuv needs until a connect or a write has ended.
  union Request {
    uv_connect_t connect;
    uv_write_t write;
  };
  std::unique_ptr<Request> request_;  // null: none is under way, as in every idle session
  OnConnected on_connected_;
  std::size_t in_flight_ = 0;  // bytes of `queue_` that uv_write holds
  std::size_t read_limit_ = kReadSlab;
  std::size_t turn_bytes_ = 0;
  std::uint64_t turn_ = 0;
  std::size_t burst_ = 0;         // bytes to offer instead of the read that has been refused
  std::uint8_t burst_looks_ = 0;  // how often to look for a burst before a read
  bool offers_bursts_ = false;
  Kind kind_;
  State state_ = State::open;
  Writing writing_ = Writing::open;
  bool wants_reading_ = false;
  bool reports_later_ = false;
  bool owned_ = true;  // false: only the libuv callback is left to free the stream
  // Failures still to be reported, from the loop.
  int write_status_ = 0;
  int connect_status_ = 0;
  int cut_by_ = 0;  // the reset that a write has heard of
};

}  // namespace starttls::net
