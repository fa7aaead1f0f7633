#pragma once

// Says how to mend a login that a probe has tried in vain.

#include <string>
#include <vector>

#include "proxy/probe/report.h"

namespace starttls {

/// Returns sentences. `report` has a login and an error with the code `login`.
[[nodiscard]] std::vector<std::string> login_advice(const ProbeReport& report);

}  // namespace starttls
