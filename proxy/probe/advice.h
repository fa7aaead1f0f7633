#pragma once

// The advice of a probe, if a server is not accepted.

#include <string>
#include <vector>

#include "proxy/probe/report.h"

namespace starttls {

/// Returns the changes of the settings, or at the server, that would change the verdict, one line
/// each. Empty if there is nothing to suggest. Settings are spelled as the report says.
[[nodiscard]] std::vector<std::string> advice(const ProbeReport& report);

}  // namespace starttls
