#pragma once

#include <memory>
#include <vector>

#include "lib/base/error.h"
#include "lib/base/log.h"
#include "lib/config/config.h"
#include "lib/session/service.h"

namespace starttls {

using Services = std::vector<std::shared_ptr<const session::Service>>;

/// Makes the configured services, binding nothing. What is wrong with them (a CA file that does not
/// parse) is appended to `problems`, all of it; on any, the result must not be served.
[[nodiscard]] Services make_services(const config::Config& config, std::vector<Error>& problems);

/// Serves until a signal ends it: TERM or INT drain, a second one ends at once, USR1 reopens the
/// log. Returns the process's exit status. Errors: system (an address that cannot be bound);
/// nothing serves then.
[[nodiscard]] Result<int> serve(const config::Config& config, const Services& services,
                                log::Logger& log);

}  // namespace starttls
