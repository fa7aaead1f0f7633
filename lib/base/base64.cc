#include "lib/base/base64.h"

#include <cstddef>

#include "lib/base/secret.h"

namespace starttls::base64 {
namespace {

constexpr std::string_view kAlphabet =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
constexpr std::size_t kGroup = 4;  // characters, which encode three bytes
constexpr unsigned kBits = 6;      // per character

}  // namespace

std::optional<std::vector<std::uint8_t>> decode(std::string_view text) {
  if (text.size() % kGroup != 0) return std::nullopt;
  std::size_t padding = 0;
  while (padding < 2 && text.ends_with('=')) {
    text.remove_suffix(1);
    ++padding;
  }
  std::vector<std::uint8_t> out;
  WipeAtEnd partial(out);  // a part of a secret, perhaps
  out.reserve(text.size() * 3 / kGroup);
  std::uint32_t bits = 0;
  unsigned held = 0;
  for (const char c : text) {
    const auto value = kAlphabet.find(c);
    if (value == std::string_view::npos) return std::nullopt;
    bits = (bits << kBits | static_cast<std::uint32_t>(value)) & 0xffffU;
    held += kBits;
    if (held >= 8) {
      held -= 8;
      out.push_back(static_cast<std::uint8_t>(bits >> held & 0xffU));
    }
  }
  // Left-over bits must be zero. Otherwise two texts would mean the same bytes.
  const bool canonical = (bits & ((1U << held) - 1U)) == 0 && held < kBits;
  if (!canonical) return std::nullopt;
  partial.keep();
  return out;
}

std::string encode(std::span<const std::uint8_t> bytes) {
  std::string out;
  out.reserve((bytes.size() + 2) / 3 * kGroup);
  std::uint32_t bits = 0;
  unsigned held = 0;
  for (const std::uint8_t byte : bytes) {
    bits = (bits << 8U | byte) & 0xffffU;
    held += 8;
    while (held >= kBits) {
      held -= kBits;
      out += kAlphabet[bits >> held & 0x3fU];
    }
  }
  if (held > 0) out += kAlphabet[bits << (kBits - held) & 0x3fU];
  while (out.size() % kGroup != 0) out += '=';
  return out;
}

}  // namespace starttls::base64
