#pragma once

// Certificates, keys and trust stores from files. Every error is Errc::config and names the file.

#include <memory>
#include <string>
#include <vector>

#include <sys/types.h>

#include "lib/base/error.h"
#include "lib/tls/boringssl.h"
#include "lib/tls/trust_store.h"

namespace starttls::tls {

/// The certificates of a PEM file, in its order, at least one. Keys and parameters are skipped;
/// every other "-----BEGIN" that gives no certificate is an error with its line.
[[nodiscard]] Result<std::vector<bssl::UniquePtr<CRYPTO_BUFFER>>> read_certificates(
    const std::string& path);

/// Whether a file of this mode, owner and group is open to nobody whom the owner does not mean to
/// read it: it is his alone; or it is root's, who alone may change it, and whoever mounted it there
/// lets one group read it (0440): one of `own_groups` (the fsGroup of a Kubernetes Secret), or
/// root's own (a credential of systemd: it is ours by an access control list, whose mask shows as a
/// right of the group). A key that people share through a group (Debian's ssl-cert, 0640) is not
/// one.
[[nodiscard]] bool is_kept_secret(mode_t mode, uid_t owner, gid_t group,
                                  const std::vector<gid_t>& own_groups) noexcept;

/// The first private key of a PEM file that is_kept_secret; it must not be encrypted.
[[nodiscard]] Result<bssl::UniquePtr<EVP_PKEY>> read_private_key(const std::string& path);

/// A file that is_kept_secret, as a private key's; the caller wipes the text.
[[nodiscard]] Result<std::string> read_secret(const std::string& path);

/// A store of the certificates in `ca_file`, all of which must parse. "" = the system's trust
/// store; of that, certificates which the library does not take are left out.
[[nodiscard]] Result<std::unique_ptr<TrustStore>> read_trust_store(const std::string& ca_file);

}  // namespace starttls::tls
