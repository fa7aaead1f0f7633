#pragma once

// Device authorization (RFC 8628): when to ask the token endpoint again, and when to give up.

#include <chrono>

#include "token/failure.h"

namespace starttls::token {

class DevicePolling {
 public:
  DevicePolling(std::chrono::seconds interval, std::chrono::seconds lifetime) noexcept
      : interval_(interval), lifetime_(lifetime) {}

  /// Returns the time to wait before the next poll.
  [[nodiscard]] std::chrono::seconds wait() const noexcept { return interval_; }
  /// Returns the time until the code expires, at least zero.
  [[nodiscard]] std::chrono::seconds left(std::chrono::seconds since_start) const noexcept;
  /// Decides after a poll that failed. Returns true if another poll may succeed: the person has
  /// not confirmed yet, or the endpoint is busy. Then wait() may be longer than before.
  [[nodiscard]] bool goes_on(const Failure& failure) noexcept;

 private:
  std::chrono::seconds interval_;
  std::chrono::seconds lifetime_;
};

}  // namespace starttls::token
