#pragma once

#include <chrono>
#include <compare>
#include <cstdint>
#include <string>

namespace starttls {

/// A moment in whole seconds, in any year that a certificate can name. A time_point of system_clock
/// counts nanoseconds and overflows in 2262. A comparison with a time_point in seconds converts
/// both to nanoseconds. So this type compares with its own kind only.
struct UnixTime {
  std::chrono::seconds since_1970{};

  /// Returns the second that contains `time`.
  [[nodiscard]] static UnixTime of(std::chrono::system_clock::time_point time) noexcept {
    return {std::chrono::floor<std::chrono::seconds>(time).time_since_epoch()};
  }
  friend auto operator<=>(const UnixTime&, const UnixTime&) = default;
};

/// Returns the time in UTC as strftime(3) writes it. `format` must be short, because a result of
/// more than 63 bytes becomes "".
[[nodiscard]] std::string utc(UnixTime time, const char* format);

/// Returns the time for people: "2026-01-31 12:00:00 UTC".
[[nodiscard]] std::string date_text(UnixTime time);

/// Returns the time for programs, as in RFC 3339: "2026-01-31T12:00:00Z".
[[nodiscard]] std::string rfc3339(UnixTime time);

/// Returns the whole days until `end`. It is -1 from the first second after it, for a day.
[[nodiscard]] std::int64_t days_until(UnixTime end, UnixTime now) noexcept;

/// Returns "29 days left", "less than a day left" or "expired 3 days ago".
[[nodiscard]] std::string time_left(UnixTime end, UnixTime now);

}  // namespace starttls
