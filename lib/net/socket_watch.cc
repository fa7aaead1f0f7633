#include "lib/net/socket_watch.h"

#include <utility>

namespace starttls::net {

SocketWatch::SocketWatch(Loop& loop, int socket, std::function<void()> on_readable)
    : handle_(new uv_poll_t{}), on_readable_(std::move(on_readable)) {
  handle_->data = this;
  expect_success(uv_poll_init(loop.raw(), handle_, socket));
  expect_success(uv_poll_start(handle_, UV_READABLE, [](uv_poll_t* handle, int, int) noexcept {
    const auto callback = static_cast<SocketWatch*>(handle->data)->on_readable_;
    callback();  // may destroy us, so call a copy
  }));
}

SocketWatch::~SocketWatch() {
  uv_close(reinterpret_cast<uv_handle_t*>(handle_),
           [](uv_handle_t* handle) noexcept { delete reinterpret_cast<uv_poll_t*>(handle); });
}

}  // namespace starttls::net
