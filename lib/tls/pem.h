#pragma once

// Certificates, keys and trust stores from files. Every error is Errc::config and names the file.

#include <string>
#include <vector>

#include "lib/base/error.h"
#include "lib/tls/boringssl.h"
#include "lib/tls/fingerprint.h"

namespace starttls::tls {

/// The certificates of a PEM file, in its order, at least one; other blocks (a key) are skipped.
[[nodiscard]] Result<std::vector<bssl::UniquePtr<CRYPTO_BUFFER>>> read_certificates(
    const std::string& path);

/// An unencrypted private key. The file must be its owner's alone: any right of group or others is
/// refused, so a key shared through a group (Debian's ssl-cert) has to be copied, and a mounted
/// secret wants mode 0400.
[[nodiscard]] Result<bssl::UniquePtr<EVP_PKEY>> read_private_key(const std::string& path);

/// A file that must be its owner's alone, as a private key; the caller wipes the text.
[[nodiscard]] Result<std::string> read_secret(const std::string& path);

struct TrustStore {
  bssl::UniquePtr<X509_STORE> store;
  Digest contents;  ///< of all certificates in it
};

/// A store of the certificates in `ca_file`, all of which must parse. "" = the system's trust
/// store; of that, certificates which the library does not take are left out.
[[nodiscard]] Result<TrustStore> read_trust_store(const std::string& ca_file);

}  // namespace starttls::tls
