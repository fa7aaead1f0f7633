#pragma once

// Reads certificates, keys and trust stores from files. An error is Errc::config, or Errc::system
// if the TLS library fails. It names the file.

#include <memory>
#include <string>
#include <vector>

#include "lib/base/error.h"
#include "lib/tls/boringssl.h"
#include "lib/tls/trust_store.h"

namespace starttls::tls {

/// Returns the certificates of a PEM file, in its order, at least one. Keys and parameters are
/// skipped. Every other "-----BEGIN" that gives no certificate is an error with its line.
[[nodiscard]] Result<std::vector<bssl::UniquePtr<CRYPTO_BUFFER>>> read_certificates(
    const std::string& path);

/// Reads the first private key of a PEM file that is_kept_secret (lib/base/kept_secret.h); it must
/// not be encrypted.
[[nodiscard]] Result<bssl::UniquePtr<EVP_PKEY>> read_private_key(const std::string& path);

/// Reads a file that is_kept_secret, by the rule for private keys; the caller wipes the text.
[[nodiscard]] Result<std::string> read_secret(const std::string& path);

/// Reads a store of the certificates in `ca_file`, all of which must parse. "" = the system's trust
/// store; certificates of it that the library does not accept are left out.
[[nodiscard]] Result<std::unique_ptr<TrustStore>> read_trust_store(const std::string& ca_file);

}  // namespace starttls::tls
