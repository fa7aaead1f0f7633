#include "lib/net/socket_watch.h"

#include <utility>

namespace starttls::net {

SocketWatch::SocketWatch(Loop& loop, std::function<void()> on_readable)
    : loop_(loop), on_readable_(std::move(on_readable)) {}

SocketWatch::~SocketWatch() {
  if (poll_ == nullptr) return;
  uv_close(reinterpret_cast<uv_handle_t*>(poll_),
           [](uv_handle_t* handle) noexcept { delete reinterpret_cast<uv_poll_t*>(handle); });
}

Result<> SocketWatch::start(int socket) {
  auto* const poll = new uv_poll_t{};
  if (const int status = uv_poll_init(loop_.raw(), poll, socket); status != 0) {
    delete poll;  // libuv has not taken it
    return fail(Errc::system, std::string("cannot wait for a socket: ") + uv_strerror(status));
  }
  poll_ = poll;
  poll_->data = this;
  expect_success(uv_poll_start(poll_, UV_READABLE, [](uv_poll_t* handle, int, int) noexcept {
    const auto callback = static_cast<SocketWatch*>(handle->data)->on_readable_;
    callback();  // may destroy us, so call a copy
  }));
  return {};
}

}  // namespace starttls::net
