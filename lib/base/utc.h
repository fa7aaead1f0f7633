#pragma once

#include <chrono>
#include <string>

namespace starttls {

/// The time in UTC as strftime(3) writes it, whole seconds. `format` is short: what makes more than
/// 63 octets is "".
[[nodiscard]] std::string utc(std::chrono::system_clock::time_point time, const char* format);

}  // namespace starttls
