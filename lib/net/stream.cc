#include "lib/net/stream.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <utility>

#include <linux/sock_diag.h>
#include <linux/sockios.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/un.h>

namespace starttls::net {
namespace {

/// Buffers that uv_write keeps in the request itself; more would cost an allocation.
constexpr std::size_t kPiecesPerWrite = 4;

/// Idle time before the first probe. A peer that vanished without a FIN is noticed long before the
/// idle deadline. A peer that a network failure cuts off for a minute is not given up.
constexpr int kKeepAliveSeconds = 120;

/// Reads after a burst that ask the kernel first how many bytes wait. One small read in between
/// does not end a burst, and commands do not pay for the question.
constexpr std::uint8_t kBurstLooks = 4;

uv_buf_t as_buffer(std::span<const std::byte> bytes) {
  // libuv takes char* both for reading and for writing; it does not change the bytes that it
  // writes.
  return uv_buf_init(const_cast<char*>(reinterpret_cast<const char*>(bytes.data())),
                     static_cast<unsigned>(bytes.size()));
}

Stream& self(uv_stream_t* handle) {
  return *static_cast<Stream*>(handle->data);
}

}  // namespace

/// Sets the options. If one is refused, the connection works all the same.
void set_tcp_options(int fd) noexcept {
  const int on = 1;
  ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
  ::setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
  ::setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &kKeepAliveSeconds, sizeof(kKeepAliveSeconds));
}

Stream::Stream(Loop& loop, Kind kind) : loop_(loop), queue_(loop.pool()), kind_(kind) {
  if (kind == Kind::tcp) {
    expect_success(uv_tcp_init(loop.raw(), &handle_.tcp));
  } else {
    expect_success(uv_pipe_init(loop.raw(), &handle_.pipe, 0));
  }
  handle_.any.data = this;
}

void Stream::connect(const SocketAddress& address, OnConnected done) {
  on_connected_ = std::move(done);
  const auto report = [](uv_connect_t* request, int status) noexcept {
    if (status == UV_ECANCELED) return;  // the stream was dropped
    Stream& stream = self(request->handle);
    stream.request_.reset();
    if (status == 0 && stream.kind_ == Kind::tcp) set_tcp_options(stream.fd());
    // The callback may drop the stream.
    const auto callback = std::move(stream.on_connected_);
    if (status == 0) {
      callback({});
    } else {
      callback(
          fail(status == UV_ETIMEDOUT ? Errc::timeout : Errc::unreachable, error_text(status)));
    }
  };
  request_ = std::make_unique<Request>();
  if (kind_ == Kind::tcp) {
    const int status = uv_tcp_connect(&request_->connect, &handle_.tcp, address.get(), report);
    if (status == 0) return;
    // No attempt is under way (an unknown address family, for example): report from the loop all
    // the same.
    connect_status_ = status;
    report_later();
    return;
  }
  const auto* local = reinterpret_cast<const sockaddr_un*>(&address.storage);
  uv_pipe_connect(&request_->connect, &handle_.pipe, local->sun_path, report);
}

void Stream::start_reading(std::size_t limit) {
  read_limit_ = limit;
  if (wants_reading_ || state_ != State::open) return;
  wants_reading_ = true;
  read_now();
}

void Stream::read_now() {
  uv_read_start(
      &handle_.stream,
      [](uv_handle_t* handle, std::size_t, uv_buf_t* buffer) noexcept {
        *buffer = static_cast<Stream*>(handle->data)->read_buffer();
      },
      [](uv_stream_t* handle, ssize_t count, const uv_buf_t* buffer) noexcept {
        self(handle).on_read(count, buffer);
      });
}

/// Returns the buffer for the next read, or none if the turn's budget is spent. libuv would read a
/// greedy peer 32 times before it looks at another. Without a buffer it leaves the peer for the
/// next turn, and does not read from the kernel meanwhile.
uv_buf_t Stream::read_buffer() noexcept {
  if (std::exchange(turn_, loop_.turn()) != loop_.turn()) turn_bytes_ = 0;
  if (turn_bytes_ >= kTurnBudget) return uv_buf_init(nullptr, 0);
  burst_ = waiting_burst();
  if (burst_ > 0) return uv_buf_init(nullptr, 0);
  return as_buffer(loop_.read_slab().first(read_limit_));
}

/// Returns the number of bytes that may pass unseen; 0: read.
std::size_t Stream::waiting_burst() noexcept {
  if (burst_looks_ == 0) return 0;
  --burst_looks_;
  int waiting = 0;
  if (::ioctl(fd(), FIONREAD, &waiting) != 0) return 0;
  const auto bytes = static_cast<std::size_t>(waiting);
  if (bytes < kBurst) return 0;
  burst_looks_ = kBurstLooks;
  return bytes - kBurstTail;
}

/// Offers the burst. If it is refused, the next read takes it.
void Stream::on_burst() {
  const auto before = turn_bytes_;
  events_->on_stream_burst(std::exchange(burst_, 0));
  if (turn_bytes_ == before) burst_looks_ = 0;
}

std::size_t Stream::splice_to(Stream& to, std::size_t bytes) {
  if (to.state_ != State::open || to.writing_ != Writing::open || !to.queue_.empty()) return 0;
  // Not much more than there is room for, so that few bytes have to wait. The excess makes the
  // source wait at once, until the reader has caught up.
  const std::size_t room = to.room();
  if (room < kBurst) return 0;
  SplicePipe& pipe = loop_.splice_pipe();
  const std::size_t passed = pipe.fill(fd(), std::min(bytes, room + 2 * kBurst));
  if (passed == 0) {
    if (!pipe.works()) offers_bursts_ = false;
    return 0;
  }
  turn_bytes_ += passed;
  to.write_from(pipe);
  return passed;
}

/// Returns about how many bytes the kernel still takes.
std::size_t Stream::room() const noexcept {
  std::array<std::uint32_t, SK_MEMINFO_VARS> memory{};
  socklen_t size = sizeof(memory);
  if (::getsockopt(fd(), SOL_SOCKET, SO_MEMINFO, memory.data(), &size) != 0) return kReadSlab;
  const auto used = std::max(memory[SK_MEMINFO_WMEM_QUEUED], memory[SK_MEMINFO_WMEM_ALLOC]);
  return memory[SK_MEMINFO_SNDBUF] - std::min(used, memory[SK_MEMINFO_SNDBUF]);
}

/// Writes all bytes of the pipe. Those that the kernel does not take go the usual way, which also
/// reports a failure.
void Stream::write_from(SplicePipe& pipe) {
  if (const int status = pipe.drain(fd()); status == UV_ECONNRESET) {
    pipe.discard();
    fail_writing(status);
    return;
  }
  while (!pipe.empty()) {
    const auto rest = pipe.take(loop_.read_slab());
    if (rest.empty()) {
      pipe.discard();
      fail_writing(UV_EIO);
      return;
    }
    write(rest);
  }
}

void Stream::stop_reading() noexcept {
  if (!wants_reading_) return;
  wants_reading_ = false;
  uv_read_stop(&handle_.stream);
}

void Stream::on_read(ssize_t count, const uv_buf_t* buffer) {
  if (count == UV_ENOBUFS && burst_ > 0) {
    on_burst();
    return;
  }
  if (count == 0 || count == UV_ENOBUFS) return;  // EAGAIN, or the turn's budget is used up
  if (count < 0) {
    stop_reading();
    int status = count == UV_EOF ? -pending_error() : static_cast<int>(count);
    if (status == 0) status = cut_by_;
    if (status == 0) {
      events_->on_stream_end(nullptr);
      return;
    }
    const Error error{Errc::closed, error_text(status)};
    events_->on_stream_end(&error);
    return;
  }

  const auto size = static_cast<std::size_t>(count);
  turn_bytes_ += size;
  if (offers_bursts_ && size >= kBurst) burst_looks_ = kBurstLooks;
  events_->on_stream_data({reinterpret_cast<std::byte*>(buffer->base), size});
}

void Stream::on_next_turn() {
  reports_later_ = false;
  if (state_ != State::open) return;
  if (connect_status_ != 0) {
    const auto callback = std::move(on_connected_);  // may drop the stream
    callback(fail(Errc::unreachable, error_text(std::exchange(connect_status_, 0))));
    return;
  }
  if (write_status_ != 0) {
    events_->on_stream_write_failed(
        Error{Errc::closed, error_text(std::exchange(write_status_, 0))});
  }
}

void Stream::report_later() {
  if (reports_later_) return;
  reports_later_ = true;
  loop_.report_next_turn(*this);
}

void Stream::write(std::span<const std::byte> bytes) {
  if (bytes.empty() || state_ != State::open || writing_ != Writing::open) return;
  if (queue_.empty()) {
    const uv_buf_t buffer = as_buffer(bytes);
    const int written = uv_try_write(&handle_.stream, &buffer, 1);
    if (written < 0 && written != UV_EAGAIN) {
      fail_writing(written);
      return;
    }
    bytes = bytes.subspan(static_cast<std::size_t>(std::max(0, written)));
    if (bytes.empty()) return;
  }
  queue_.append(bytes);  // the tail that the kernel did not take is the only copy
  flush();
}

void Stream::flush() {
  if (in_flight_ != 0 || queue_.empty()) return;
  std::array<std::span<const std::byte>, kPiecesPerWrite> pieces;
  std::array<uv_buf_t, kPiecesPerWrite> buffers;
  const std::size_t count = queue_.pieces(pieces);
  for (std::size_t i = 0; i < count; ++i) {
    buffers[i] = as_buffer(pieces[i]);
    in_flight_ += pieces[i].size();
  }
  if (!request_) request_ = std::make_unique<Request>();
  const int status = uv_write(
      &request_->write, &handle_.stream, buffers.data(), static_cast<unsigned>(count),
      [](uv_write_t* request, int result) noexcept { self(request->handle).on_written(result); });
  if (status != 0) {
    in_flight_ = 0;
    fail_writing(status);
  }
}

void Stream::on_written(int status) {
  if (status == UV_ECANCELED || state_ != State::open) return;  // closing: touch nothing
  const std::size_t written = std::exchange(in_flight_, 0);
  if (writing_ == Writing::failed) {  // while these bytes were under way
    queue_.clear();
    return;
  }
  if (status != 0) {
    fail_writing(status);
    return;
  }
  queue_.consume(written);
  if (!queue_.empty()) {
    flush();
    return;
  }
  request_.reset();
  if (writing_ == Writing::fin_wanted) send_fin();
  events_->on_stream_drained();
}

void Stream::fail_writing(int status) {
  writing_ = Writing::failed;
  write_status_ = status;
  // The kernel reports a reset once, and this write has heard of it. A peer that has sent its FIN
  // before gives EPIPE: its end is whole.
  if (status != UV_EPIPE) cut_by_ = status;
  // libuv reads the bytes in flight from the queue's blocks. `on_written` clears it after that.
  if (in_flight_ == 0) queue_.clear();
  report_later();
}

void Stream::shutdown_write() {
  if (state_ != State::open || writing_ != Writing::open) return;
  writing_ = Writing::fin_wanted;
  if (queue_.empty()) send_fin();
}

/// Sends the FIN directly. Nothing waits in libuv, so there is no need to ask libuv, which would
/// wait for a turn of the loop.
void Stream::send_fin() {
  writing_ = Writing::fin_sent;
  // A failure here means that the peer is gone; reading reports that.
  ::shutdown(fd(), SHUT_WR);
}

void Stream::close() noexcept {
  owned_ = false;
  events_ = nullptr;
  on_connected_ = nullptr;
  loop_.forget(*this);
  if (state_ == State::closed) {
    delete this;
    return;
  }
  if (state_ == State::closing) return;
  state_ = State::closing;
  uv_close(&handle_.any, on_handle_closed);
}

void Stream::reset() noexcept {
  if (state_ != State::open || kind_ != Kind::tcp) return;
  if (uv_tcp_close_reset(&handle_.tcp, on_handle_closed) != 0) return;
  state_ = State::closing;
  loop_.forget(*this);
}

void Stream::on_handle_closed(uv_handle_t* handle) noexcept {
  auto* stream = static_cast<Stream*>(handle->data);
  stream->state_ = State::closed;
  if (!stream->owned_) delete stream;
}

std::size_t Stream::unsent() const noexcept {
  return uv_stream_get_write_queue_size(&handle_.stream);
}

int Stream::fd() const noexcept {
  uv_os_fd_t fd = -1;
  return uv_fileno(&handle_.any, &fd) == 0 ? fd : -1;
}

bool Stream::has_pending_input() const noexcept {
  char byte = 0;
  return ::recv(fd(), &byte, 1, MSG_PEEK | MSG_DONTWAIT) > 0;
}

bool Stream::is_quiet() const noexcept {
  uv_os_fd_t fd = -1;
  if (uv_fileno(&handle_.any, &fd) != 0) return false;
  char byte = 0;
  return ::recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) < 0 && errno == EAGAIN;
}

bool Stream::is_over() const noexcept {
  char byte = 0;
  const auto count = ::recv(fd(), &byte, 1, MSG_PEEK | MSG_DONTWAIT);
  return count == 0 || (count < 0 && errno != EAGAIN && errno != EINTR);
}

bool Stream::has_peer_ended() const noexcept {
  // POLLHUP and POLLERR are reported in any case.
  pollfd peer{.fd = fd(), .events = POLLRDHUP, .revents = 0};
  return ::poll(&peer, 1, 0) > 0;
}

/// Returns the kernel's pending error. If a reset comes together with bytes, libuv reports the end
/// of file (1.44: POLLHUP after a short read). The kernel still has the error.
int Stream::pending_error() const noexcept {
  int error = 0;
  socklen_t size = sizeof(error);
  if (::getsockopt(fd(), SOL_SOCKET, SO_ERROR, &error, &size) != 0) return 0;
  return error;
}

std::size_t Stream::unacknowledged() const noexcept {
  if (kind_ != Kind::tcp || fd() < 0) return 0;
  int bytes = 0;
  // If the kernel does not say, assume that bytes are under way, so that the caller waits.
  if (::ioctl(fd(), SIOCOUTQ, &bytes) != 0) return 1;
  return static_cast<std::size_t>(bytes);
}

SocketAddress Stream::peer() const noexcept {
  SocketAddress address;
  address.size = sizeof(address.storage);
  if (::getpeername(fd(), address.get(), &address.size) != 0) return {};
  return unmapped(address);  // an inherited listener may take both families
}

}  // namespace starttls::net
