#pragma once

// Settings that can work, but are seldom intended.

#include <string>
#include <vector>

#include "lib/config/config.h"
#include "lib/config/exposure.h"

namespace starttls::config {

/// Returns how the port contradicts the mode ("port 465 is for TLS from the first byte"), or "".
[[nodiscard]] std::string port_mistake(TlsMode tls, const Address& address);

/// Returns settings that can work, but are seldom intended. These are a port that contradicts the
/// mode, and `allow` and `listen` that exclude each other. One sentence each, with settings as they
/// are written in a file or on a command line.
[[nodiscard]] std::vector<std::string> likely_mistakes(const Service& service,
                                                       Spelling spelling = Spelling::keys);

}  // namespace starttls::config
