#pragma once

// AES-GCM of Intel's IPsec multi-buffer library (libipsec-mb), which uses the vector AES of newer
// CPUs. The rest of lib/tls sees bytes only. In a build without the library `is_available` is
// false, and nothing else here may be called.

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

namespace starttls::tls::multi_buffer {

inline constexpr std::size_t kTag = 16;

/// A key in the form that the library works with. The caller wipes it.
struct alignas(64) Key {
  std::byte bytes[1536];  // version 1.3 needs 1008, version 2.0 needs 1264
};

/// One record: its key, nonce and additional data. All of it outlives the call.
struct Record {
  const Key& key;
  bool is_aes_256 = false;
  std::span<const std::uint8_t, 12> nonce;
  std::span<const std::uint8_t> additional;
};

/// True if the library was there at build time, and this CPU has vector AES (VAES, VPCLMULQDQ).
/// Thread-safe.
[[nodiscard]] bool is_available() noexcept;
/// Returns the library's name and version, or "" in a build without it.
[[nodiscard]] std::string version();

/// Expands a key of 16 or 32 bytes.
void expand(std::span<const std::uint8_t> key, Key& out) noexcept;
/// Writes the ciphertext of `content`, followed by that of `last` and by the tag, to `out`.
void seal(const Record& record, std::span<const std::uint8_t> content, std::uint8_t last,
          std::uint8_t* out) noexcept;
/// Opens `sealed`, which ends with the tag, into `out`, which has room for all but the tag. Returns
/// false if it is not authentic; `out` is wiped then.
[[nodiscard]] bool open(const Record& record, std::span<const std::uint8_t> sealed,
                        std::uint8_t* out) noexcept;

}  // namespace starttls::tls::multi_buffer
