#pragma once

#include "lib/base/address.h"
#include "lib/config/config.h"
#include "lib/metrics/metrics.h"
#include "lib/proto/role.h"

namespace starttls::session {

/// Sets the name and port of the server. The name is never one that the server or DNS gave.
void name_server(proto::Credentials& credentials, const config::Upstream& upstream,
                 const Address& address);

/// Counts a login that has ended, for each side that took part.
void count_login(metrics::Tally& tally, const proto::LoginReport& report) noexcept;

}  // namespace starttls::session
