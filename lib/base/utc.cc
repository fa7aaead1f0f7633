#include "lib/base/utc.h"

#include <ctime>

namespace starttls {

std::string utc(UnixTime time, const char* format) {
  const std::time_t seconds = time.since_1970.count();
  std::tm parts{};
  char text[64];
  if (::gmtime_r(&seconds, &parts) == nullptr) return "";
  return {text, std::strftime(text, sizeof text, format, &parts)};
}

}  // namespace starttls
