#include "token/device_flow.h"

#include <algorithm>

namespace starttls::token {
namespace {

using std::chrono::seconds;

constexpr seconds kSlowDown{5};  // RFC 8628 §3.5
constexpr seconds kLongest{60};

}  // namespace

seconds DevicePolling::left(seconds since_start) const noexcept {
  return std::max(lifetime_ - since_start, seconds::zero());
}

bool DevicePolling::goes_on(const Failure& failure) noexcept {
  if (failure.oauth_error == "authorization_pending") return true;
  if (failure.oauth_error == "slow_down") {
    interval_ = std::min(interval_ + kSlowDown, kLongest);
    return true;
  }
  if (failure.status != Exit::temporary) return false;
  // RFC 8628 §3.5: exponential backoff after a time-out; the same for 429 and 5xx.
  interval_ =
      std::min(std::max(2 * interval_, failure.retry_after.value_or(seconds::zero())), kLongest);
  return true;
}

}  // namespace starttls::token
