#pragma once

#include <string>

#include "lib/base/utc.h"
#include "token/failure.h"
#include "token/settings.h"

namespace starttls::token {

/// Returns the output of `starttls-token list`: a line per account, stored or only configured.
/// Errors: io, config.
[[nodiscard]] Outcome<std::string> listing(const Settings& settings, UnixTime now);

}  // namespace starttls::token
