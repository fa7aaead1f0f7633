#pragma once

// Interception on Linux: connections that a client meant for another machine, and connections that
// we make from the address of another machine.
//
// REDIRECT rewrites a connection's destination, and connection tracking remembers the first one
// (SO_ORIGINAL_DST). TPROXY leaves the destination as it is and hands the connection to a
// transparent listener. Then the address at our end is not ours but the one that the client
// dialled. A client that connects to us directly dials an address of ours. So one function covers
// all three cases.

#include "lib/base/error.h"
#include "lib/net/address.h"
#include "lib/net/listener.h"
#include "lib/net/stream.h"

namespace starttls::net {

/// Returns the destination that the client of an accepted connection dialled: the one that REDIRECT
/// has rewritten, otherwise the address at our end. IPv4 never comes as ::ffff:a.b.c.d. Errors:
/// system.
[[nodiscard]] Result<SocketAddress> original_destination(const Stream& client);

/// True if this machine itself is reached at `address` (its port is not looked at): an address of
/// an interface, loopback, or the unspecified one. Reads the system's interfaces. Errors: system,
/// if they cannot be read.
[[nodiscard]] Result<bool> is_own_address(const SocketAddress& address);

/// Returns a TCP socket that will connect from `source`, an address of another machine
/// (IP_TRANSPARENT). It has a port from 16384 to 32767 that is free there. Answers come back to it
/// only if the machine's routes send them to itself. Errors: system; the reason says what the
/// process lacks.
[[nodiscard]] Result<Socket> socket_of_another(const SocketAddress& source);

/// Checks that the process may make such sockets. Errors: system; the reason says what is lacking.
[[nodiscard]] Result<> may_use_addresses_of_others();

}  // namespace starttls::net
