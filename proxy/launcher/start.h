#pragma once

// Starts the launcher: the process that runs the programs of logins. The proxy's own sandbox allows
// no program. So the launcher is forked before the proxy enters it, with rights of its own to give
// up.

#include <functional>
#include <optional>
#include <string>

#include <sys/types.h>

#include "lib/base/descriptor.h"
#include "lib/base/error.h"
#include "lib/config/config.h"
#include "proxy/confinement/user.h"

namespace starttls::launcher {

/// The proxy's end of a launcher that runs.
struct Process {
  pid_t pid = 0;
  Descriptor pair = {};  ///< SOCK_SEQPACKET, non-blocking: see message.h
};

/// Starts the launcher, if a service of the configuration has a command. Waits until it has become
/// `user` and has given up its rights. `forget` is called in the launcher. It drops everything that
/// only the proxy needs, such as private keys, but not `user`. Call it before there are threads,
/// loops or a sandbox. Errors: system.
[[nodiscard]] Result<std::optional<Process>> start_if_needed(const std::string& config_file,
                                                             const config::Config& config,
                                                             const std::optional<User>& user,
                                                             const std::function<void()>& forget);

}  // namespace starttls::launcher
