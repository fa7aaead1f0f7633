#pragma once

#include <memory>

#include "lib/proto/role.h"

namespace starttls::proto {

// ManageSieve (RFC 5804). Either side of it is greeted with the capability list, and again once TLS
// is up.

[[nodiscard]] std::unique_ptr<UpstreamRole> sieve_upstream(const RoleSettings& settings);
[[nodiscard]] std::unique_ptr<DownstreamRole> sieve_downstream(const RoleSettings& settings);

}  // namespace starttls::proto
