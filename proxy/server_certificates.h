#pragma once

// The certificates that servers have shown.

#include <vector>

#include "lib/metrics/metrics.h"
#include "proxy/state.h"

namespace starttls {

/// Returns the ends of the certificates that the servers of `services` have shown, service by
/// service. A server that the configuration does not name any more is left out. If a service takes
/// the address that its client meant to reach, all of its servers are included.
[[nodiscard]] std::vector<metrics::ServerCertificateExpiry> server_certificates_of(
    const Services& services);

}  // namespace starttls
