#pragma once

#include <string>

#include "lib/session/client/identity.h"
#include "lib/session/leg.h"
#include "lib/session/upstream/target.h"

namespace starttls::session {

/// Returns the header that describes the client to the server, before all other bytes, as
/// `upstream.send_proxy` wants it. It has the client's address and the one that it dialled, from a
/// balancer's header if there is one, otherwise from the connection. With version 2 it also has the
/// client's TLS, if that is up, with the facts that `client` has kept. A unix socket has no
/// addresses: LOCAL, or UNKNOWN in version 1.
[[nodiscard]] std::string proxy_header(const Target& target, const ClientIdentity& identity,
                                       Leg& client);

}  // namespace starttls::session
