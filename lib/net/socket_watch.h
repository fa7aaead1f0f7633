#pragma once

#include <functional>

#include "lib/base/error.h"
#include "lib/net/loop.h"

namespace starttls::net {

/// Reports when a socket of another kind than a stream has something to read, or has ended. Its
/// owner reads. May be destroyed at any time on the loop's thread, also from inside its callback.
class SocketWatch {
 public:
  SocketWatch(Loop& loop, std::function<void()> on_readable);
  SocketWatch(const SocketWatch&) = delete;
  SocketWatch& operator=(const SocketWatch&) = delete;
  ~SocketWatch();

  /// Begins, once. The socket must outlive this object. Errors: system; nothing is reported then.
  [[nodiscard]] Result<> open(int socket);

 private:
  Loop& loop_;
  uv_poll_t* handle_ = nullptr;  // outlives us until libuv lets go of it
  std::function<void()> on_readable_;
};

}  // namespace starttls::net
