#pragma once

#include <memory>

#include "lib/proto/role.h"

namespace starttls::proto {

// POP3 (RFC 1939, CAPA: RFC 2449, STLS: RFC 2595).

[[nodiscard]] std::unique_ptr<UpstreamRole> pop3_upstream(const RoleSettings& settings);
[[nodiscard]] std::unique_ptr<DownstreamRole> pop3_downstream(const RoleSettings& settings);

}  // namespace starttls::proto
