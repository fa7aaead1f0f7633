#include "lib/net/timer.h"

#include <algorithm>
#include <utility>

namespace starttls::net {

Timer::Timer(Loop& loop, std::function<void()> on_expired)
    : handle_(new uv_timer_t{}), on_expired_(std::move(on_expired)) {
  handle_->data = this;
  expect_success(uv_timer_init(loop.raw(), handle_));
}

Timer::~Timer() {
  uv_close(reinterpret_cast<uv_handle_t*>(handle_),
           [](uv_handle_t* handle) noexcept { delete reinterpret_cast<uv_timer_t*>(handle); });
}

void Timer::start(std::chrono::milliseconds delay) {
  // libuv counts from the start of the loop's turn; a long turn must not shorten the wait.
  uv_update_time(handle_->loop);
  const auto ms = static_cast<std::uint64_t>(std::max<std::int64_t>(0, delay.count()));
  uv_timer_start(
      handle_,
      [](uv_timer_t* handle) noexcept {
        const auto callback = static_cast<Timer*>(handle->data)->on_expired_;
        callback();  // may destroy the timer, so call a copy
      },
      ms, 0);
}

void Timer::stop() noexcept {
  uv_timer_stop(handle_);
}

}  // namespace starttls::net
