#pragma once

#include <memory>

#include "lib/proto/role.h"

namespace starttls::proto {

// IMAP (RFC 9051, RFC 3501; STARTTLS and LOGINDISABLED: RFC 9051 §6.2.1, RFC 2595 §3). The role
// before the server is in imap_upstream.cc, the one before the client in imap.cc.

/// On a leg that upgrades `settings.tag` must not be empty.
[[nodiscard]] std::unique_ptr<UpstreamRole> imap_upstream(const RoleSettings& settings);
[[nodiscard]] std::unique_ptr<DownstreamRole> imap_downstream(const RoleSettings& settings);

}  // namespace starttls::proto
