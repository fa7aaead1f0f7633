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

}  // namespace

std::string utc(UnixTime time, const char* format) {
  const std::time_t seconds = time.since_1970.count();
  std::tm parts{};
  char text[64];
  if (::gmtime_r(&seconds, &parts) == nullptr) return "";
  return {text, std::strftime(text, sizeof text, format, &parts)};
}

std::int64_t days_until(UnixTime end, UnixTime now) noexcept {
  return std::chrono::floor<days>(end.since_1970 - now.since_1970).count();
}

std::string time_left(UnixTime end, UnixTime now) {
  const auto left = end.since_1970 - now.since_1970;
  return left < left.zero() ? "expired " + whole_days(-left) + " ago" : whole_days(left) + " left";
}

}  // namespace starttls
