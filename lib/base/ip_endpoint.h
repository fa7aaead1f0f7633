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

/// Returns ::ffff:a.b.c.d (RFC 4291 §2.5.5.2) as the IPv4 address that it is, any other address
/// unchanged. A listener of both families reports its IPv4 clients in that form.
[[nodiscard]] constexpr IpEndpoint unmapped(const IpEndpoint& endpoint) noexcept {
  constexpr std::array<std::uint8_t, 12> kPrefix = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
  const bool is_mapped = endpoint.family == IpEndpoint::Family::v6 &&
                         std::equal(kPrefix.begin(), kPrefix.end(), endpoint.bytes.begin());
  if (!is_mapped) return endpoint;
  IpEndpoint out{.family = IpEndpoint::Family::v4, .port = endpoint.port};
  std::copy_n(endpoint.bytes.begin() + 12, 4, out.bytes.begin());
  return out;
}

/// Returns the sixteen bytes of the address, IPv4 as ::ffff:a.b.c.d.
[[nodiscard]] constexpr std::array<std::uint8_t, 16> mapped_bytes(
    const IpEndpoint& endpoint) noexcept {
  if (endpoint.family == IpEndpoint::Family::v6) return endpoint.bytes;
  std::array<std::uint8_t, 16> out{};
  out[10] = out[11] = 0xff;
  std::copy_n(endpoint.bytes.begin(), 4, out.begin() + 12);
  return out;
}

}  // namespace starttls
