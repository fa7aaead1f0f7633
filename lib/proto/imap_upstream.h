#pragma once

#include <memory>

#include "lib/proto/role.h"

namespace starttls::proto {

/// Makes the upstream role for IMAP. On a leg that upgrades `settings.tag` must not be empty.
[[nodiscard]] std::unique_ptr<UpstreamRole> imap_upstream(const RoleSettings& settings);

}  // namespace starttls::proto
