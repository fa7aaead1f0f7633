#pragma once

#include <memory>

#include "lib/proto/role.h"

namespace starttls::proto {

// NNTP (RFC 3977, STARTTLS: RFC 4642, AUTHINFO: RFC 4643).

[[nodiscard]] std::unique_ptr<UpstreamRole> nntp_upstream(const RoleSettings& settings);
[[nodiscard]] std::unique_ptr<DownstreamRole> nntp_downstream(const RoleSettings& settings);

}  // namespace starttls::proto
