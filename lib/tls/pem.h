#pragma once

// Reads certificates, keys and trust stores from files. Every error is Errc::config and names the
// file.

#include <memory>
#include <string>
#include <vector>

#include <sys/types.h>

#include "lib/base/error.h"
#include "lib/tls/boringssl.h"
#include "lib/tls/trust_store.h"

namespace starttls::tls {

/// Returns the certificates of a PEM file, in its order, at least one. Keys and parameters are
/// skipped. Every other "-----BEGIN" that gives no certificate is an error with its line.
[[nodiscard]] Result<std::vector<bssl::UniquePtr<CRYPTO_BUFFER>>> read_certificates(
    const std::string& path);

/// True if a file of this mode, owner and group can be read only by processes that its owner
/// intends. Either it is open to its owner alone. Or it is root's, and one group may read it (0440
/// or 0640): one of `own_groups` (Debian's ssl-cert, the fsGroup of a Kubernetes Secret), or root's
/// own (a credential of systemd: an access control list lets us read it, and its mask shows as a
/// right of the group).
[[nodiscard]] bool is_kept_secret(mode_t mode, uid_t owner, gid_t group,
                                  const std::vector<gid_t>& own_groups) noexcept;

/// Reads the first private key of a PEM file that is_kept_secret; it must not be encrypted.
[[nodiscard]] Result<bssl::UniquePtr<EVP_PKEY>> read_private_key(const std::string& path);

/// Reads a file that is_kept_secret, by the rule for private keys; the caller wipes the text.
[[nodiscard]] Result<std::string> read_secret(const std::string& path);

/// Reads a store of the certificates in `ca_file`, all of which must parse. "" = the system's trust
/// store; certificates of it that the library does not accept are left out.
[[nodiscard]] Result<std::unique_ptr<TrustStore>> read_trust_store(const std::string& ca_file);

}  // namespace starttls::tls
