#pragma once

// The times of a certificate, as a report writes them.

#include <optional>
#include <string>

#include "lib/base/utc.h"

namespace starttls {

/// Returns the time in a format that begins with "%Y-". The year has four digits, as in RFC 3339.
[[nodiscard]] inline std::string four_digit_year(UnixTime time, const char* format) {
  std::string text = utc(time, format);
  if (const auto digits = text.find('-'); digits < 4) text.insert(0, 4 - digits, '0');
  return text;
}

/// Returns the time for people: "2026-01-31 12:00:00 UTC".
[[nodiscard]] inline std::string time_text(const std::optional<UnixTime>& time) {
  return time ? four_digit_year(*time, "%Y-%m-%d %H:%M:%S UTC") : "an unreadable time";
}

/// Returns the time for programs (RFC 3339): "2026-01-31T12:00:00Z".
[[nodiscard]] inline std::string rfc3339(UnixTime time) {
  return four_digit_year(time, "%Y-%m-%dT%H:%M:%SZ");
}

}  // namespace starttls
