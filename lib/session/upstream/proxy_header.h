#pragma once

#include <string>

#include "lib/session/client/identity.h"
#include "lib/session/leg.h"
#include "lib/session/upstream/target.h"

namespace starttls::session {

/// What the server is told of the client ahead of everything else, as `upstream.send_proxy` wants
/// it: who it is and what it dialled (as a balancer has said, else as its connection does); with
/// version 2 also its TLS, as far as that is up: client facts that `client` has kept are taken.
/// Over a unix socket there is nothing to tell: LOCAL, or UNKNOWN in version 1.
[[nodiscard]] std::string proxy_header(const Target& target, const ClientIdentity& identity,
                                       Leg& client);

}  // namespace starttls::session
