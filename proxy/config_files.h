#pragma once

// The files that a configuration names: which of them are watched, and which a reload reads.

#include <string>
#include <vector>

#include "lib/config/config.h"

namespace starttls {

/// Returns certificates, keys, CA and ticket files. They are replaced on disk and we are not
/// informed, so they are watched. The configuration itself is not: it is read at a reload only
/// (HUP).
[[nodiscard]] std::vector<std::string> watched_files(const config::Config& config);

/// Returns all files that a reload may read, with absolute paths. `config_file` is the
/// configuration itself; "" = there is none.
[[nodiscard]] std::vector<std::string> files_to_read(const std::string& config_file,
                                                     const config::Config& config);

}  // namespace starttls
