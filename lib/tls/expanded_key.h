#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "lib/base/tls_settings.h"
#include "lib/tls/boringssl.h"
#include "lib/tls/multi_buffer.h"

namespace starttls::tls {

/// A key that is ready for use. It takes more than a kilobyte, so it is kept for a burst of
/// records only. Wiped at its end.
class ExpandedKey {
 public:
  ExpandedKey() = default;
  ExpandedKey(const ExpandedKey&) = delete;
  ExpandedKey& operator=(const ExpandedKey&) = delete;
  ~ExpandedKey() { wipe(); }

  using Nonce = std::array<std::uint8_t, 12>;

  /// Expands `key`. libipsec-mb serves AES-GCM only; all other ciphers are the library's. Returns
  /// false if the key is not one of `aead`.
  [[nodiscard]] bool init(RecordCipher cipher, const EVP_AEAD* aead,
                          std::span<const std::uint8_t> key) noexcept;
  /// Opens `sealed`, which ends with the tag, into `out`. Returns false if it is not authentic, or
  /// if `out` has no room for it.
  [[nodiscard]] bool open(const Nonce& nonce, std::span<const std::uint8_t> additional,
                          std::span<const std::uint8_t> sealed, std::span<std::uint8_t> out,
                          std::size_t& size) const noexcept;
  /// Seals `content`, followed by the byte `last`, and the tag to `out`, which has room for them.
  [[nodiscard]] bool seal(const Nonce& nonce, std::span<const std::uint8_t> additional,
                          std::span<const std::uint8_t> content, std::uint8_t last,
                          std::uint8_t* out) const noexcept;

 private:
  enum class Kind : std::uint8_t { none, library, aes_128, aes_256 };

  [[nodiscard]] multi_buffer::Record record(
      const Nonce& nonce, std::span<const std::uint8_t> additional) const noexcept;
  void wipe() noexcept;

  Kind kind_ = Kind::none;
  bssl::ScopedEVP_AEAD_CTX library_;
  multi_buffer::Key multi_buffer_;  // not initialised unless it is used
};

}  // namespace starttls::tls
