#pragma once

#include <string>

#include "lib/base/error.h"

namespace starttls {

/// Whether this process may append to the file, or make it, as far as can be told without doing it.
/// Errors: config, in the system's words.
[[nodiscard]] Result<> check_log_file(const std::string& file);

}  // namespace starttls
