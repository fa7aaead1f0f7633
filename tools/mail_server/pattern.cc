#include "tools/mail_server/pattern.h"

#include <algorithm>
#include <string>

namespace starttls::bench {
namespace {

/// Makes one period and enough of the next: a piece may begin anywhere in the first.
std::string make_pattern() {
  constexpr std::string_view kAlphabet =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string pattern;
  pattern.reserve(kPatternPeriod + kPatternPiece);
  std::uint64_t state = 0x9e3779b97f4a7c15U;
  while (pattern.size() < kPatternPeriod) {
    for (std::size_t i = 0; i < kPatternLine - 2; ++i) {
      // xorshift64: all that is needed is noise that is the same on every machine.
      state ^= state << 13U;
      state ^= state >> 7U;
      state ^= state << 17U;
      pattern += kAlphabet[state % kAlphabet.size()];
    }
    pattern += "\r\n";
  }
  pattern.append(pattern, 0, kPatternPiece);
  return pattern;
}

}  // namespace

std::string_view pattern_at(std::uint64_t offset, std::uint64_t wanted) {
  static const std::string pattern = make_pattern();
  const auto size = static_cast<std::size_t>(std::min<std::uint64_t>(wanted, kPatternPiece));
  return std::string_view{pattern}.substr(static_cast<std::size_t>(offset % kPatternPeriod), size);
}

void PatternCheck::take(std::string_view bytes) {
  while (intact_ && !bytes.empty()) {
    const auto expected = pattern_at(bytes_, bytes.size());
    intact_ = bytes.starts_with(expected);
    bytes_ += expected.size();
    bytes.remove_prefix(expected.size());
  }
  bytes_ += bytes.size();
}

}  // namespace starttls::bench
