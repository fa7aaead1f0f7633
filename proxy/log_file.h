#pragma once

#include <string>

#include "lib/base/error.h"

namespace starttls {

/// Checks that this process may append to the file, or create it, as far as that can be known
/// without doing it. Errors: config, in the system's words.
[[nodiscard]] Result<> check_log_file(const std::string& file);

}  // namespace starttls
