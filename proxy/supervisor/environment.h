#pragma once

// What a supervisor tells in the environment, as systemd does (sd_listen_fds(3), sd_notify(3),
// sd_watchdog_enabled(3)); others speak the same. Understood here; performed by inherited_sockets.h
// and notifier.h.

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

/// The name of each passed descriptor, "unknown" where none is given. Empty where nothing is
/// passed, or where it is meant for another process than `own_pid`. Errors: config, naming the
/// variable.
[[nodiscard]] Result<std::vector<std::string>> passed_names(const PassedVariables& variables,
                                                            std::uint64_t own_pid);

/// WATCHDOG_USEC, WATCHDOG_PID.
struct WatchdogVariables {
  Variable period;
  Variable pid;
};

/// Within which time the supervisor wants a sign of life; nothing where it wants none, or not from
/// this process. Errors: config, naming the variable.
[[nodiscard]] Result<std::optional<std::chrono::microseconds>> watchdog_period(
    const WatchdogVariables& variables, std::uint64_t own_pid);

/// The environment's, which is then taken out of it: nobody after us is meant by it. Before there
/// are threads.
[[nodiscard]] Variable take_variable(const char* name);

}  // namespace starttls::systemd
