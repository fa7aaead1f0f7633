#pragma once

// SHA-256 over a sequence of fields, each with its length, so that no two sequences look alike.

#include <array>
#include <cstdint>
#include <span>
#include <string_view>

#include "lib/tls/boringssl.h"

namespace starttls::tls {

using Digest = std::array<std::uint8_t, SHA256_DIGEST_LENGTH>;

class Fingerprint {
 public:
  Fingerprint() noexcept { SHA256_Init(&state_); }

  Fingerprint& add(std::span<const std::uint8_t> field) noexcept {
    const std::uint64_t size = field.size();
    SHA256_Update(&state_, &size, sizeof(size));
    SHA256_Update(&state_, field.data(), field.size());
    return *this;
  }
  Fingerprint& add(std::string_view field) noexcept {
    return add(std::span(reinterpret_cast<const std::uint8_t*>(field.data()), field.size()));
  }
  Fingerprint& add(const CRYPTO_BUFFER* field) noexcept {
    return add(std::span(CRYPTO_BUFFER_data(field), CRYPTO_BUFFER_len(field)));
  }
  Fingerprint& add(std::uint64_t number) noexcept {
    std::uint8_t bytes[sizeof(number)];
    for (auto& byte : bytes) {
      byte = static_cast<std::uint8_t>(number & 0xffU);
      number >>= 8U;
    }
    return add(std::span<const std::uint8_t>(bytes));
  }

  [[nodiscard]] Digest finish() noexcept {
    Digest out;
    SHA256_Final(out.data(), &state_);
    return out;
  }

 private:
  SHA256_CTX state_{};
};

}  // namespace starttls::tls
