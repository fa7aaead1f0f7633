#pragma once

#include <algorithm>
#include <array>
#include <cstdint>

namespace starttls {

/// An IP address and a TCP port. It has no name, no scope and nothing of the operating system.
struct IpEndpoint {
  enum class Family : std::uint8_t { v4, v6 };

  Family family = Family::v4;
  std::array<std::uint8_t, 16> bytes{};  ///< network order; IPv4 in the first four, then zeros
  std::uint16_t port = 0;                ///< host order

  friend bool operator==(const IpEndpoint&, const IpEndpoint&) = default;
};

/// The first bytes of ::ffff:a.b.c.d (RFC 4291 §2.5.5.2).
inline constexpr std::array<std::uint8_t, 12> kMappedPrefix = {0, 0, 0, 0, 0,    0,
                                                               0, 0, 0, 0, 0xff, 0xff};

/// True if the sixteen bytes of an address are ::ffff:a.b.c.d.
[[nodiscard]] constexpr bool is_mapped(const std::array<std::uint8_t, 16>& bytes) noexcept {
  return std::equal(kMappedPrefix.begin(), kMappedPrefix.end(), bytes.begin());
}

/// Returns the sixteen bytes of an IPv4 address as ::ffff:a.b.c.d.
[[nodiscard]] constexpr std::array<std::uint8_t, 16> mapped(
    const std::array<std::uint8_t, 4>& v4) noexcept {
  std::array<std::uint8_t, 16> out{};
  std::copy(kMappedPrefix.begin(), kMappedPrefix.end(), out.begin());
  std::copy(v4.begin(), v4.end(), out.begin() + kMappedPrefix.size());
  return out;
}

/// Returns ::ffff:a.b.c.d as plain IPv4, any other address unchanged. A listener of both families
/// reports an IPv4 client as ::ffff:a.b.c.d.
[[nodiscard]] constexpr IpEndpoint unmapped(const IpEndpoint& endpoint) noexcept {
  if (endpoint.family == IpEndpoint::Family::v4 || !is_mapped(endpoint.bytes)) return endpoint;
  IpEndpoint out{.family = IpEndpoint::Family::v4, .port = endpoint.port};
  std::copy(endpoint.bytes.begin() + kMappedPrefix.size(), endpoint.bytes.end(), out.bytes.begin());
  return out;
}

/// Returns the sixteen bytes of the address, IPv4 as ::ffff:a.b.c.d.
[[nodiscard]] constexpr std::array<std::uint8_t, 16> mapped_bytes(
    const IpEndpoint& endpoint) noexcept {
  if (endpoint.family == IpEndpoint::Family::v6) return endpoint.bytes;
  std::array<std::uint8_t, 4> v4{};
  std::copy_n(endpoint.bytes.begin(), v4.size(), v4.begin());
  return mapped(v4);
}

}  // namespace starttls
