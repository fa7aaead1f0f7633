#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>

#include <sys/socket.h>

#include "lib/base/address.h"
#include "lib/base/error.h"
#include "lib/base/ip_endpoint.h"

namespace starttls::net {

/// A socket address of any family, with room for the largest.
struct SocketAddress {
  sockaddr_storage storage{};
  socklen_t size = 0;

  [[nodiscard]] const sockaddr* get() const noexcept {
    return reinterpret_cast<const sockaddr*>(&storage);
  }
  [[nodiscard]] sockaddr* get() noexcept { return reinterpret_cast<sockaddr*>(&storage); }
};

/// Returns "192.0.2.1:25", "[2001:db8::1]:25", "[fe80::1%eth0]:25", "unix:PATH" or "unix:@NAME"
/// (abstract). For an unnamed socket it is "unix:".
[[nodiscard]] std::string to_string(const SocketAddress& address);

/// Returns the IP address in network order, IPv4 as ::ffff:a.b.c.d; nothing for a unix socket.
[[nodiscard]] std::optional<std::array<std::uint8_t, 16>> ip_bytes(
    const SocketAddress& address) noexcept;

/// Returns address and port, IPv4 never as ::ffff:a.b.c.d; nothing for a unix socket.
[[nodiscard]] std::optional<IpEndpoint> ip_endpoint(const SocketAddress& address) noexcept;
[[nodiscard]] SocketAddress socket_address(const IpEndpoint& endpoint) noexcept;

/// Returns the port; 0 for a unix socket.
[[nodiscard]] std::uint16_t port_of(const SocketAddress& address) noexcept;

/// Returns the same TCP address with another port.
[[nodiscard]] SocketAddress with_port(SocketAddress address, std::uint16_t port) noexcept;

/// Returns the literal and the port of a TCP address.
[[nodiscard]] Address ip_address(const SocketAddress& address);

/// Returns the address at this end of a socket; empty (size 0) if the socket is gone.
[[nodiscard]] SocketAddress local_address(int socket) noexcept;

/// Returns plain IPv4 if the address is IPv4 from a socket of both families (::ffff:a.b.c.d).
/// Returns any other address unchanged.
[[nodiscard]] SocketAddress unmapped(const SocketAddress& address) noexcept;

/// Parses an IP literal, without a lookup; an error if `host` is a name. An interface
/// ("fe80::1%eth0", or its number) is looked up each time. If it does not exist, bind and connect
/// report that (ENODEV).
[[nodiscard]] Result<SocketAddress> parse_ip(const std::string& host, std::uint16_t port);

/// Returns libuv's text for a status: "connection refused".
[[nodiscard]] std::string error_text(int uv_status);

/// Returns the machine's name as the kernel has it, qualified or not; "" if it has none.
[[nodiscard]] std::string kernel_hostname();

/// Returns the machine's first IPv4 address that is not loopback, as a literal: "[192.0.2.1]" (RFC
/// 5321 §4.1.3). If there is none, "[127.0.0.1]".
[[nodiscard]] std::string address_literal();

}  // namespace starttls::net
