#include "lib/base/utc.h"

#include <ctime>

namespace starttls {
namespace {

using std::chrono::days;

std::string whole_days(std::chrono::seconds span) {
  const auto count = std::chrono::floor<days>(span).count();
  if (count == 0) return "less than a day";
  return std::to_string(count) + (count == 1 ? " day" : " days");
}

/// Returns the time in a format that begins with "%Y-". RFC 3339 wants four digits of the year, and
/// strftime(3) does not pad it.
std::string with_padded_year(UnixTime time, const char* format) {
  std::string text = utc(time, format);
  if (const auto digits = text.find('-'); digits < 4) text.insert(0, 4 - digits, '0');
  return text;
}

}  // namespace

std::string utc(UnixTime time, const char* format) {
  const std::time_t seconds = time.since_1970.count();
  std::tm parts{};
  char text[64];
  if (::gmtime_r(&seconds, &parts) == nullptr) return "";
  return {text, std::strftime(text, sizeof text, format, &parts)};
}

std::string date_text(UnixTime time) {
  return with_padded_year(time, "%Y-%m-%d %H:%M:%S UTC");
}

std::string rfc3339(UnixTime time) {
  return with_padded_year(time, "%Y-%m-%dT%H:%M:%SZ");
}

std::int64_t days_until(UnixTime end, UnixTime now) noexcept {
  return std::chrono::floor<days>(end.since_1970 - now.since_1970).count();
}

std::string time_left(UnixTime end, UnixTime now) {
  const auto left = end.since_1970 - now.since_1970;
  return left < left.zero() ? "expired " + whole_days(-left) + " ago" : whole_days(left) + " left";
}

}  // namespace starttls
