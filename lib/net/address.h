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

/// Large enough for every family.
struct SocketAddress {
  sockaddr_storage storage{};
  socklen_t size = 0;

  [[nodiscard]] const sockaddr* get() const noexcept {
    return reinterpret_cast<const sockaddr*>(&storage);
  }
  [[nodiscard]] sockaddr* get() noexcept { return reinterpret_cast<sockaddr*>(&storage); }
};

/// "192.0.2.1:25", "[2001:db8::1]:25", "[fe80::1%eth0]:25", "unix:PATH", "unix:@NAME" (abstract);
/// "unix:" for an unnamed socket.
[[nodiscard]] std::string to_string(const SocketAddress& address);

/// The IP address in network order, IPv4 as ::ffff:a.b.c.d; nothing for a unix socket.
[[nodiscard]] std::optional<std::array<std::uint8_t, 16>> ip_bytes(
    const SocketAddress& address) noexcept;

/// Address and port, IPv4 never as ::ffff:a.b.c.d; nothing for a unix socket.
[[nodiscard]] std::optional<IpEndpoint> ip_endpoint(const SocketAddress& address) noexcept;
[[nodiscard]] SocketAddress socket_address(const IpEndpoint& endpoint) noexcept;

/// 0 for a unix socket.
[[nodiscard]] std::uint16_t port_of(const SocketAddress& address) noexcept;

/// The same TCP address with another port.
[[nodiscard]] SocketAddress with_port(SocketAddress address, std::uint16_t port) noexcept;

/// The literal and the port, for a TCP address.
[[nodiscard]] Address ip_address(const SocketAddress& address);

/// IPv4 as IPv4 where it comes over a socket of both families (::ffff:a.b.c.d); all else as it is.
[[nodiscard]] SocketAddress unmapped(const SocketAddress& address) noexcept;

/// An IP literal and port, no lookup; nothing if `host` is a name. An interface ("fe80::1%eth0", or
/// its number) is looked up each time; bind and connect report one that does not exist (ENODEV).
[[nodiscard]] Result<SocketAddress> parse_ip(const std::string& host, std::uint16_t port);

/// The library's text for a libuv status: "connection refused".
[[nodiscard]] std::string error_text(int uv_status);

/// The machine's name as the kernel has it, qualified or not; "" if it has none.
[[nodiscard]] std::string kernel_hostname();

/// The first address of this machine that is not loopback, as a literal: "[192.0.2.1]" (RFC 5321
/// §4.1.3).
[[nodiscard]] std::string address_literal();

}  // namespace starttls::net
