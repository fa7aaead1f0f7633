#pragma once

// The TLS library that the program was built with, and what it can do. Includes no <openssl/...>.

#include <string>

#include "lib/base/tls_settings.h"

namespace starttls::tls {

/// Returns "BoringSSL (API 17)" or "AWS-LC 5.5.0", or just the name if the library reports no
/// version.
[[nodiscard]] std::string library_version();
/// Returns the library's abilities with X25519MLKEM768.
[[nodiscard]] PostQuantumSupport post_quantum_support() noexcept;

}  // namespace starttls::tls
