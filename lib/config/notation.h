#pragma once

// How addresses, networks and durations are written in a configuration.

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include <sys/un.h>

#include "lib/base/address.h"
#include "lib/base/error.h"

namespace starttls::config {

using starttls::Address;

/// The longest path of a unix socket, in bytes.
inline constexpr std::size_t kMaxSocketPath = sizeof(sockaddr_un::sun_path) - 1;

/// Reads "HOST:PORT", "[::1]:PORT", "[fe80::1%eth0]:PORT" or "unix:PATH". IP literals come out in
/// one spelling, so that equal addresses compare equal. to_string gives the notation back. Refuses
/// addresses that no TCP connection can have: IPv4 written as IPv6, multicast, link-local without
/// an interface. Errors: config. The reason quotes `text` and says what is wrong ("'x': the port is
/// missing"). The evidence is the second half alone, for a text that must not be shown.
[[nodiscard]] Result<Address> parse_address(std::string_view text);

/// Checks a host's name (letters, digits, '-', '_' and dots; RFC 1035 §2.3.4 limits) or an IP
/// literal. Errors: config, as parse_address.
[[nodiscard]] Result<> check_host(const std::string& host);

/// True if `host` is an IPv4 or IPv6 literal, without brackets.
[[nodiscard]] bool is_ip_literal(const std::string& host) noexcept;

/// True if only this machine can reach a listener there: a loopback literal or a unix socket. False
/// for an inherited socket, because its address is not known here.
[[nodiscard]] bool is_local(const Address& address) noexcept;

/// True if two listeners cannot coexist: same address, or one is the wildcard address of the same
/// port. Always false if the system chooses the port.
[[nodiscard]] bool overlap(const Address& one, const Address& other) noexcept;

/// The length of the prefix that makes an IPv4 address an IPv6 one (::ffff:0:0/96).
inline constexpr unsigned kMappedBits = 96;

/// An IPv4 or IPv6 network; IPv4 is kept as ::ffff:a.b.c.d, its prefix + kMappedBits.
struct Network {
  std::uint8_t bytes[16] = {};
  unsigned prefix = 128;

  friend bool operator==(const Network&, const Network&) = default;
};

[[nodiscard]] bool is_v4(const Network& network) noexcept;

/// Reads "10.0.0.0/8", "2001:db8::/32" or a single address. Errors: config, as parse_address. Bits
/// after the prefix are an error too: the user meant something else.
[[nodiscard]] Result<Network> parse_network(std::string_view text);
[[nodiscard]] std::string to_string(const Network& network);

/// True if `network` contains `address` (IPv4 as ::ffff:a.b.c.d, in network order). An IPv6 network
/// never contains an IPv4 address: "::/0" is all of IPv6 and no more.
[[nodiscard]] bool contains(const Network& network,
                            std::span<const std::uint8_t, 16> address) noexcept;

/// True if one of `networks` contains it.
[[nodiscard]] bool contains(std::span<const Network> networks,
                            std::span<const std::uint8_t, 16> address) noexcept;

/// Reads "10s", "5m", "1h30m", "250ms": whole numbers, each unit once, the larger first. Errors:
/// config, as parse_address, also for zero and for more than a day.
[[nodiscard]] Result<std::chrono::milliseconds> parse_duration(std::string_view text);
[[nodiscard]] std::string to_string(std::chrono::milliseconds duration);

}  // namespace starttls::config
