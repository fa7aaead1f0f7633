#include "lib/base/jwt.h"

#include <algorithm>
#include <cstddef>
#include <string>
#include <utility>

#include "lib/base/base64.h"

namespace starttls {
namespace {

/// Decodes base64url without padding (RFC 7515 §2).
std::optional<Secret> decode_url(std::string_view text) {
  constexpr std::size_t kGroup = 4;
  std::string standard;
  const WipeAtEnd wiped(standard);
  standard.reserve(text.size() + kGroup);  // a text that grows would leave copies in memory
  standard = text;
  std::replace(standard.begin(), standard.end(), '-', '+');
  std::replace(standard.begin(), standard.end(), '_', '/');
  while (standard.size() % kGroup != 0) standard += '=';
  auto bytes = base64::decode(standard);
  if (!bytes) return std::nullopt;
  const WipeAtEnd wiped_bytes(*bytes);
  return Secret{std::string_view{reinterpret_cast<const char*>(bytes->data()), bytes->size()}};
}

}  // namespace

std::optional<JwtParts> split_jwt(std::string_view token) {
  const auto first = token.find('.');
  if (first == std::string_view::npos) return std::nullopt;
  const auto second = token.find('.', first + 1);
  if (second == std::string_view::npos || token.find('.', second + 1) != std::string_view::npos) {
    return std::nullopt;
  }
  auto header = decode_url(token.substr(0, first));
  auto claims = decode_url(token.substr(first + 1, second - first - 1));
  if (!header || !claims) return std::nullopt;
  return JwtParts{std::move(*header), std::move(*claims)};
}

}  // namespace starttls
