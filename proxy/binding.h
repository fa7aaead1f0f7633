#pragma once

// One address that this process listens on, from the decision to the bound sockets. Another process
// of this program may listen there until it ends: TCP sockets share the port, a unix socket's path
// is taken over.

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "lib/base/address.h"
#include "lib/base/error.h"
#include "lib/net/listener.h"
#include "lib/net/takeover.h"

namespace starttls {

struct Binding {
  std::vector<net::Socket> sockets;  ///< all at the same address; not empty
  std::string name;                  ///< the address with its real port
  std::uint16_t port = 0;            ///< the real port; 0 for a path
  /// Set only for a path that leads to another process. Complete it after everything else that can
  /// fail. Until then the path stays with the other process.
  std::optional<net::Takeover> takeover = {};
  /// A warning for the log, if another process listened there before us: it may be about to end.
  /// Otherwise "".
  std::string_view warning = {};
};

struct BindingRequest {
  Address address;
  net::Taking taking = net::Taking::ours;
  std::optional<net::Owner> owner = {};  ///< see net::bind_listener
  std::size_t sockets = 1;               ///< one per loop
  /// Ports of this process. Another address of the same port may be ours, too: the wildcard
  /// address, for example.
  std::vector<std::uint16_t> own_ports = {};
};

/// Binds the address, or prepares to take it over. Errors: system, with the address.
[[nodiscard]] Result<Binding> bind_address(const BindingRequest& request);

/// Duplicates one socket for `count` loops. Errors: system.
[[nodiscard]] Result<std::vector<net::Socket>> duplicates(const net::Socket& socket,
                                                          std::size_t count);

/// True if a listener at this TCP address would be another process's. False if the system chooses
/// the port, and if the port is one of ours already.
[[nodiscard]] bool would_be_anothers(const Address& address,
                                     std::span<const std::uint16_t> own_ports);

/// Returns the warning about the other process at an address that is shared.
[[nodiscard]] std::string_view sharing_warning(const Address& address);

}  // namespace starttls
