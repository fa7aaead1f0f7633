#include "lib/net/socket_watch.h"

#include <utility>

#include "lib/net/address.h"

namespace starttls::net {

SocketWatch::SocketWatch(Loop& loop, std::function<void()> on_readable)
    : loop_(loop), on_readable_(std::move(on_readable)) {}

Result<> SocketWatch::open(int socket) {
  auto* const handle = new uv_poll_t{};
  int status = uv_poll_init(loop_.raw(), handle, socket);
  if (status == 0) {
    handle_ = handle;
    handle_->data = this;
    status = uv_poll_start(handle_, UV_READABLE, [](uv_poll_t* watched, int, int) noexcept {
      const auto callback = static_cast<SocketWatch*>(watched->data)->on_readable_;
      callback();  // may destroy us, so call a copy
    });
  } else {
    delete handle;  // libuv has not taken it
  }
  if (status != 0) return fail(Errc::system, "cannot watch a socket: " + error_text(status));
  return {};
}

SocketWatch::~SocketWatch() {
  if (handle_ == nullptr) return;
  uv_close(reinterpret_cast<uv_handle_t*>(handle_),
           [](uv_handle_t* handle) noexcept { delete reinterpret_cast<uv_poll_t*>(handle); });
}

}  // namespace starttls::net
