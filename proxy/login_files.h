#pragma once

// The files with the secrets of logins, and the programs that print them. The files are read at
// each login, by the user that the process has become, so that a timer can put a fresh token there.
// So a file that is missing is no error: it may come later. A file that is there must be one that
// the process may read, and no other user. A program that is there must be one that the process may
// execute, and no other user may write.

#include <string>
#include <vector>

#include "lib/config/config.h"
#include "lib/config/places.h"
#include "lib/config/problem.h"

namespace starttls {

/// Returns the files with secrets that `service` reads at logins, each once.
[[nodiscard]] std::vector<std::string> login_files(const config::Service& service);

/// True if `service` has a source that `check_login_files` looks at.
[[nodiscard]] bool has_login_files(const config::Service& service) noexcept;

/// Adds a problem for each file of a secret, and for each program, that is there and cannot be
/// used. Acts as the calling user.
void check_login_files(const config::Config& config, const config::Places& places,
                       config::Problems& problems);

/// Returns a warning for each file, socket and program that is missing now.
[[nodiscard]] std::vector<std::string> login_file_warnings(const config::Service& service);

}  // namespace starttls
