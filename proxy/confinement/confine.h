#pragma once

// Puts the process into its confinement: becomes the user, drops capabilities, enters the sandbox.

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "lib/base/error.h"
#include "lib/base/log.h"
#include "lib/config/config.h"
#include "proxy/confinement/user.h"

namespace starttls {

inline constexpr std::string_view kSandboxIncomplete =
    "the sandbox is incomplete: this kernel lacks a part of it";

/// Gives up the rights that only a start needs. `config_file` is the configuration itself; "" =
/// there is none. Warns if a reload will not be able to read a file, or if this kernel lacks a part
/// of the sandbox. Call it before there are threads. Errors: system; the process must end then.
[[nodiscard]] Result<> confine(const std::string& config_file, const config::Config& config,
                               const std::optional<User>& user, log::Logger& log);

/// Confines a probe as a serving process without `proxy.user` is confined, before the server's
/// first byte (S9). All that it needs is loaded, so only the resolver's files are left to read.
/// Returns the parts of the sandbox that this kernel lacks. Errors: system.
[[nodiscard]] Result<std::vector<std::string>> confine_probe(const config::Config& config);

}  // namespace starttls
