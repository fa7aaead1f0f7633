#pragma once

// `starttls-proxy probe`: opens a service's connection to its server once, with the opener of a
// session, and reports the result.

#include <memory>

#include "lib/net/loop.h"
#include "lib/session/service.h"
#include "proxy/probe/report.h"

namespace starttls {

/// Probes the only address of the service, and runs the loop until that is done. The prelude has
/// the time that a session gives it. The question for the server's capabilities, which follows, has
/// the same time again.
[[nodiscard]] ProbeReport probe(net::Loop& loop, std::shared_ptr<const session::Service> service);

}  // namespace starttls
