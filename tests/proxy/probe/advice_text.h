#pragma once

#include <string>

#include "proxy/probe/advice.h"
#include "tests/support/catch.h"

namespace starttls {

/// Returns the advice on a report, one line each. Checks that each is one line.
inline std::string advice_text(const ProbeReport& report) {
  std::string out;
  for (const auto& line : advice(report)) {
    CHECK_FALSE(line.empty());
    CHECK(line.find('\n') == std::string::npos);
    out += line + "\n";
  }
  return out;
}

}  // namespace starttls
