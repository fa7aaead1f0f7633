#pragma once

// Settings that can work, but are seldom intended.

#include <string>
#include <vector>

#include "lib/config/config.h"

namespace starttls::config {

/// Returns how the port contradicts the mode ("port 465 is for TLS from the first byte"), or "".
[[nodiscard]] std::string port_mistake(TlsMode tls, const Address& address);

/// Returns settings that can work, but are seldom intended. These are a port that contradicts the
/// mode, and `allow` and `listen` that exclude each other. One sentence each.
[[nodiscard]] std::vector<std::string> likely_mistakes(const Service& service);

}  // namespace starttls::config
