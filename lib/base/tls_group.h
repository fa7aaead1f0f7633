#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace starttls {

/// A group of the key exchange (RFC 8446 §4.2.7).
enum class TlsGroup : std::uint8_t {
  x25519_mlkem768,  ///< post-quantum: X25519 and ML-KEM-768 together
  x25519,
  p256,
  p384,
  p521,
  other,  ///< none of these, or not known
};

/// The names as the session line and the labels of metrics write them.
inline constexpr std::string_view kTlsGroupNames[] = {"X25519MLKEM768", "X25519", "P-256",
                                                      "P-384",          "P-521",  "other"};

constexpr std::string_view name(TlsGroup group) noexcept {
  return kTlsGroupNames[static_cast<std::size_t>(group)];
}

}  // namespace starttls
