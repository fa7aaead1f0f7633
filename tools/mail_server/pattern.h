#pragma once

// The content of bulk transfers. It is known, so the receiver can check that all of it arrived.

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace starttls::bench {

/// The length of a line: 76 printable bytes, none of them a dot, and CRLF. Lines of encoded mail
/// have this length (RFC 2045 §6.7, §6.8).
inline constexpr std::size_t kPatternLine = 78;
/// The pattern repeats after this many bytes. It is no multiple of a read, a pooled block or a TLS
/// record. If one of these is lost, doubled or swapped, the rest does not fit.
inline constexpr std::size_t kPatternPeriod = kPatternLine * 3361;
/// The longest piece that `pattern_at` returns.
inline constexpr std::size_t kPatternPiece = 256UL * 1024;

/// Returns the pattern from `offset` on: `wanted` bytes, at most `kPatternPiece`. The bytes live as
/// long as the process.
[[nodiscard]] std::string_view pattern_at(std::uint64_t offset, std::uint64_t wanted);

/// Compares what arrives with the pattern, from its beginning.
class PatternCheck {
 public:
  void take(std::string_view bytes);

  [[nodiscard]] std::uint64_t bytes() const noexcept { return bytes_; }
  [[nodiscard]] bool intact() const noexcept { return intact_; }

 private:
  std::uint64_t bytes_ = 0;
  bool intact_ = true;
};

}  // namespace starttls::bench
