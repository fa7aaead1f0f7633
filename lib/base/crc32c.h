#pragma once

#include <array>
#include <cstdint>
#include <string_view>

namespace starttls {

namespace detail {

constexpr std::array<std::uint32_t, 256> make_crc32c_table() noexcept {
  std::array<std::uint32_t, 256> table{};
  for (std::uint32_t i = 0; i < table.size(); ++i) {
    std::uint32_t crc = i;
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1U) ^ ((crc & 1U) != 0 ? 0x82f63b78U : 0U);
    table[i] = crc;
  }
  return table;
}

inline constexpr auto kCrc32cTable = make_crc32c_table();

}  // namespace detail

/// CRC32C (Castagnoli, RFC 4960 appendix B), fed in pieces. It takes one step per byte, so it is
/// for short texts.
class Crc32c {
 public:
  constexpr void update(std::string_view bytes) noexcept {
    for (const char c : bytes) {
      state_ =
          (state_ >> 8U) ^ detail::kCrc32cTable[(state_ ^ static_cast<unsigned char>(c)) & 0xffU];
    }
  }
  [[nodiscard]] constexpr std::uint32_t value() const noexcept { return ~state_; }

 private:
  std::uint32_t state_ = 0xffffffffU;
};

}  // namespace starttls
