#pragma once

// Interception on Linux: connections that were meant for somebody else, and connections made in the
// name of somebody else.
//
// REDIRECT rewrites a connection's destination, and connection tracking remembers the first one
// (SO_ORIGINAL_DST). TPROXY leaves it as it is and hands the connection to a transparent listener:
// then the address at our end is not ours but the one the client dialled. Whoever connects to us
// directly dials an address of ours, so one question answers for all three.

#include "lib/base/error.h"
#include "lib/net/address.h"
#include "lib/net/listener.h"
#include "lib/net/stream.h"

namespace starttls::net {

/// Where the client of an accepted connection meant to go: what REDIRECT has rewritten, else the
/// address at our end. IPv4 never comes as ::ffff:a.b.c.d. Errors: system.
[[nodiscard]] Result<SocketAddress> original_destination(Stream& client);

/// Whether this machine itself is reached at `address` (its port is not looked at): an address of
/// an interface, loopback, or the unspecified one. Reads the system's interfaces. Errors: system,
/// where they cannot be read.
[[nodiscard]] Result<bool> is_own_address(const SocketAddress& address);

/// The address at our end. Nothing (size 0) where the connection is gone.
[[nodiscard]] SocketAddress local_address(Stream& stream) noexcept;

/// A TCP socket that will connect from `source`, an address of another machine (IP_TRANSPARENT),
/// and a port from 16384 to 32767 that is free there. Answers come back to it only if the machine
/// is told to route them to itself. Errors: system, with what the process lacks.
[[nodiscard]] Result<Socket> socket_of_another(const SocketAddress& source);

/// Whether the process may make such sockets. Errors: system, with what is lacking.
[[nodiscard]] Result<> may_use_addresses_of_others();

}  // namespace starttls::net
