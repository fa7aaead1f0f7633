#pragma once

// `starttls-proxy probe`: conducts a service's prelude with its server once, as a session would,
// and tells what was seen.

#include "lib/net/loop.h"
#include "lib/session/service.h"
#include "proxy/probe/report.h"

namespace starttls {

/// Probes the only address of the service, and runs the loop until that is done. The prelude has
/// the time that a session gives it, and so has the question for the server's capabilities behind
/// it.
[[nodiscard]] ProbeReport probe(net::Loop& loop, const session::Service& service);

}  // namespace starttls
