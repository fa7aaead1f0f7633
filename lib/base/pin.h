#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "lib/base/base64.h"

namespace starttls {

/// The SHA-256 of a certificate's SubjectPublicKeyInfo (RFC 7469 §2.4). It survives a renewal that
/// keeps the key.
struct Pin {
  std::array<std::uint8_t, 32> bytes{};

  friend bool operator==(const Pin&, const Pin&) = default;
};

inline constexpr std::string_view kPinPrefix = "sha256:";

/// Parses "sha256:BASE64". Returns nothing if `text` is not a pin.
[[nodiscard]] inline std::optional<Pin> parse_pin(std::string_view text) {
  if (!text.starts_with(kPinPrefix)) return std::nullopt;
  const auto bytes = base64::decode(text.substr(kPinPrefix.size()));
  Pin pin{};
  if (!bytes || bytes->size() != pin.bytes.size()) return std::nullopt;
  std::copy(bytes->begin(), bytes->end(), pin.bytes.begin());
  return pin;
}

[[nodiscard]] inline std::string to_string(const Pin& pin) {
  return std::string(kPinPrefix) + base64::encode(pin.bytes);
}

}  // namespace starttls
