#pragma once

#include <functional>

#include "lib/base/secret.h"
#include "token/failure.h"

namespace starttls::token {

/// Runs `work` in a process of its own, and returns its result. If this process is killed, `work`
/// goes on: the process has a session of its own, ignores SIGTERM, SIGINT and SIGHUP, and holds
/// none of the standard descriptors. `work` must end by itself. Errors: system; those of `work`.
[[nodiscard]] Outcome<Secret> detached(const std::function<Outcome<Secret>()>& work);

}  // namespace starttls::token
