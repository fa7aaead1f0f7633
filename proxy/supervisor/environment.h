#pragma once

// Reads the variables that a supervisor sets in the environment, as systemd does (sd_listen_fds(3),
// sd_notify(3), sd_watchdog_enabled(3)). Other supervisors use the same ones. This file only
// understands them; inherited_sockets.h and notifier.h act on them.

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "lib/base/error.h"

namespace starttls::systemd {

/// The first descriptor that is passed; the others follow.
inline constexpr int kFirstPassed = 3;

/// A variable of the environment, or nothing.
using Variable = std::optional<std::string>;

/// LISTEN_PID, LISTEN_FDS, LISTEN_FDNAMES.
struct PassedVariables {
  Variable pid;
  Variable count;
  Variable names;
};

/// Returns the name of each passed descriptor, "unknown" if the supervisor gives no names. Empty if
/// nothing is passed, or if it is meant for another process than `own_pid`. Errors: config, naming
/// the variable.
[[nodiscard]] Result<std::vector<std::string>> passed_names(const PassedVariables& variables,
                                                            std::uint64_t own_pid);

/// WATCHDOG_USEC, WATCHDOG_PID.
struct WatchdogVariables {
  Variable period;
  Variable pid;
};

/// Returns the time within which the supervisor wants a sign of life. Nothing if it wants none, or
/// wants it from another process than `own_pid`. Errors: config, naming the variable.
[[nodiscard]] Result<std::optional<std::chrono::microseconds>> watchdog_period(
    const WatchdogVariables& variables, std::uint64_t own_pid);

/// Returns the variable and removes it from the environment, because it is meant for this process
/// only. Call it before there are threads.
[[nodiscard]] Variable take_variable(const char* name);

}  // namespace starttls::systemd
