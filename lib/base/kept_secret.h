#pragma once

// The rule for files with secrets: private keys, ticket keys, passwords and tokens.

#include <vector>

#include <sys/stat.h>
#include <sys/types.h>

#include "lib/base/error.h"

namespace starttls {

/// True if a file of this mode, owner and group can be read only by processes that its owner
/// intends. Either it is open to its owner alone. Or it is root's, and one group may read it (0440
/// or 0640): one of `own_groups` (Debian's ssl-cert, the fsGroup of a Kubernetes Secret), or root's
/// own (a credential of systemd: an access control list lets us read it, and its mask shows as a
/// right of the group).
[[nodiscard]] bool is_kept_secret(mode_t mode, uid_t owner, gid_t group,
                                  const std::vector<gid_t>& own_groups) noexcept;

/// Checks the status of a secret's open file: it must be a regular file that only processes meant
/// by its owner can read (is_kept_secret, with the groups of this process). Errors: config, in
/// words that follow the file's name.
[[nodiscard]] Result<> check_kept_secret(const struct ::stat& status);

}  // namespace starttls
