#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace starttls {

enum class TlsVersion : std::uint8_t { tls1_0, tls1_1, tls1_2, tls1_3 };

/// The names as the TLS library and the session line write them.
inline constexpr std::string_view kTlsVersionNames[] = {"TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3"};

constexpr std::string_view name(TlsVersion version) noexcept {
  return kTlsVersionNames[static_cast<std::size_t>(version)];
}

/// Returns the number as the configuration writes it: "1.2".
constexpr std::string_view number(TlsVersion version) noexcept {
  constexpr std::string_view kNumbers[] = {"1.0", "1.1", "1.2", "1.3"};
  return kNumbers[static_cast<std::size_t>(version)];
}

}  // namespace starttls
