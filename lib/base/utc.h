#pragma once

#include <chrono>
#include <compare>
#include <string>

namespace starttls {

/// A moment in whole seconds, of any year that a certificate can name. A time_point of system_clock
/// counts nanoseconds and overflows in 2262; compared with one of seconds, both become nanoseconds.
/// So this type compares with its own kind only.
struct UnixTime {
  std::chrono::seconds since_1970{};

  /// The second in which `time` is.
  [[nodiscard]] static UnixTime of(std::chrono::system_clock::time_point time) noexcept {
    return {std::chrono::floor<std::chrono::seconds>(time).time_since_epoch()};
  }
  friend auto operator<=>(const UnixTime&, const UnixTime&) = default;
};

/// The time in UTC as strftime(3) writes it. `format` is short: a text of more than 63 bytes is "".
[[nodiscard]] std::string utc(UnixTime time, const char* format);

}  // namespace starttls
