#pragma once

// Advice for a login that has failed: without a secret, not offered, or refused by the server.

#include <string>
#include <vector>

#include "proxy/probe/report.h"

namespace starttls {

/// Returns sentences. `report` has a login and an error with the code `login`.
[[nodiscard]] std::vector<std::string> login_advice(const ProbeReport& report);

}  // namespace starttls
