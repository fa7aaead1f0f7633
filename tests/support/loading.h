#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "lib/config/load.h"

namespace starttls {

/// The protocols of the program that loads a configuration in these tests.
inline constexpr std::string_view kProtocols[] = {"smtp", "lmtp"};

using Lines = std::vector<std::string>;

/// Returns the problems as they are printed.
inline Lines lines(const config::Problems& problems) {
  Lines all;
  for (const auto& problem : problems) all.push_back(problem.where + ": " + problem.text);
  return all;
}

}  // namespace starttls
