#pragma once

// Base64 (RFC 4648 §4), strict: padded, no white space, no other alphabet.

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace starttls::base64 {

/// Decodes `text`. Returns nothing if `text` is not the one canonical encoding of some bytes.
[[nodiscard]] std::optional<std::vector<std::uint8_t>> decode(std::string_view text);
[[nodiscard]] std::string encode(std::span<const std::uint8_t> bytes);

}  // namespace starttls::base64
