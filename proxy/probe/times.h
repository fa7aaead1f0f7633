#pragma once

// The times of a certificate, as a report writes them.

#include <optional>
#include <string>

#include "lib/base/utc.h"

namespace starttls {

/// Returns the time for people: "2026-01-31 12:00:00 UTC".
[[nodiscard]] inline std::string time_text(const std::optional<UnixTime>& time) {
  return time ? date_text(*time) : "an unreadable time";
}

}  // namespace starttls
