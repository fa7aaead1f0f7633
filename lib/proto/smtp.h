#pragma once

#include <memory>

#include "lib/proto/role.h"

namespace starttls::proto {

// SMTP (RFC 5321, STARTTLS: RFC 3207) and LMTP (RFC 2033), which differs in two words.

[[nodiscard]] std::unique_ptr<UpstreamRole> smtp_upstream(const RoleSettings& settings);
[[nodiscard]] std::unique_ptr<UpstreamRole> lmtp_upstream(const RoleSettings& settings);

[[nodiscard]] std::unique_ptr<DownstreamRole> smtp_downstream(const RoleSettings& settings);
[[nodiscard]] std::unique_ptr<DownstreamRole> lmtp_downstream(const RoleSettings& settings);

}  // namespace starttls::proto
