#pragma once

// Reads a secret from the first line of a file.

#include <string>

#include "lib/session/credentials/secret_answer.h"

namespace starttls::session {

/// Reads a file. It waits for the disk, so it is not for a loop.
[[nodiscard]] SecretAnswer read_secret(const std::string& path, bool token);

}  // namespace starttls::session
