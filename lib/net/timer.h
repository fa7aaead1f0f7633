#pragma once

#include <chrono>
#include <functional>

#include "lib/net/loop.h"

namespace starttls::net {

/// One deadline. May be destroyed at any time on the loop's thread, also from inside its callback.
class Timer {
 public:
  Timer(Loop& loop, std::function<void()> on_expired);
  Timer(const Timer&) = delete;
  Timer& operator=(const Timer&) = delete;
  ~Timer();

  /// Expires once, `delay` from now; replaces an earlier deadline.
  void start(std::chrono::milliseconds delay);
  void stop() noexcept;

 private:
  uv_timer_t* handle_;  // outlives the timer until libuv lets go of it
  std::function<void()> on_expired_;
};

}  // namespace starttls::net
