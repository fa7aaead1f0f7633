#include "lib/tls/record_cipher.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "lib/tls/expanded_key.h"
#include "lib/tls/library.h"
#include "tests/support/catch.h"

namespace starttls::tls {
namespace {

using Bytes = std::vector<std::uint8_t>;

constexpr std::array<std::uint8_t, 5> kHeader = {23, 3, 3, 0, 0};

struct Cipher {
  const EVP_AEAD* aead;
  std::size_t key_bytes;
};

std::vector<Cipher> ciphers() {
  return {{EVP_aead_aes_128_gcm(), 16},
          {EVP_aead_aes_256_gcm(), 32},
          {EVP_aead_chacha20_poly1305(), 32}};
}

std::vector<RecordCipher> implementations() {
  std::vector<RecordCipher> all{RecordCipher::library};
  if (multi_buffer::is_available()) all.push_back(RecordCipher::multi_buffer);
  return all;
}

Bytes some_bytes(std::size_t size, unsigned seed) {
  Bytes bytes(size);
  for (auto& byte : bytes) {
    seed = seed * 1'664'525U + 1'013'904'223U;
    byte = static_cast<std::uint8_t>(seed >> 24U);
  }
  return bytes;
}

/// Seals `content` and the byte 23.
Bytes seal(RecordCipher implementation, const Cipher& cipher, std::span<const std::uint8_t> content,
           unsigned seed) {
  ExpandedKey key;
  REQUIRE(key.init(implementation, cipher.aead, some_bytes(cipher.key_bytes, seed)));
  ExpandedKey::Nonce nonce{};
  nonce.back() = static_cast<std::uint8_t>(seed);
  Bytes out(content.size() + 1 + multi_buffer::kTag);
  REQUIRE(key.seal(nonce, kHeader, content, 23, out.data()));
  return out;
}

/// Opens a record of `seal`; nothing if it is not authentic. `room` is filled with 0xee first, and
/// holds the plaintext after.
std::optional<std::size_t> open(RecordCipher implementation, const Cipher& cipher,
                                std::span<const std::uint8_t> sealed, unsigned seed, Bytes& room) {
  ExpandedKey key;
  REQUIRE(key.init(implementation, cipher.aead, some_bytes(cipher.key_bytes, seed)));
  ExpandedKey::Nonce nonce{};
  nonce.back() = static_cast<std::uint8_t>(seed);
  std::ranges::fill(room, 0xee);
  std::size_t size = 0;
  if (!key.open(nonce, kHeader, sealed, room, size)) return std::nullopt;
  return size;
}

}  // namespace

TEST_CASE("record cipher: both libraries seal and open the same", "[tls][cipher]") {
  if (!multi_buffer::is_available()) return;
  CHECK(ciphers_agree());
}

TEST_CASE("record cipher: every size up to three blocks of the fastest code agrees",
          "[tls][cipher]") {
  for (const auto& cipher : ciphers()) {
    for (std::size_t size = 0; size < 3 * 768 + 2; size += size < 300 ? 1 : 37) {
      const Bytes content = some_bytes(size, static_cast<unsigned>(size));
      Bytes plain = content;
      plain.push_back(23);
      const Bytes sealed = seal(RecordCipher::library, cipher, content, 7);
      for (const auto implementation : implementations()) {
        if (seal(implementation, cipher, content, 7) != sealed) FAIL("sealed size " << size);
        Bytes room(sealed.size());
        const auto opened = open(implementation, cipher, sealed, 7, room);
        if (!opened || *opened != plain.size()) FAIL("opened size " << size);
        if (!std::equal(plain.begin(), plain.end(), room.begin())) FAIL("plain size " << size);
      }
    }
  }
}

TEST_CASE("record cipher: a damaged record is refused and leaves no plaintext",
          "[tls][cipher][security]") {
  const Bytes content = some_bytes(100, 1);
  for (const auto& cipher : ciphers()) {
    const Bytes sealed = seal(RecordCipher::library, cipher, content, 3);
    for (const auto implementation : implementations()) {
      for (std::size_t at = 0; at < sealed.size(); ++at) {
        Bytes damaged = sealed;
        damaged[at] ^= static_cast<std::uint8_t>(1U << (at % 8));
        Bytes room(sealed.size());
        if (open(implementation, cipher, damaged, 3, room))
          FAIL("byte " << at << " may be damaged");
        const bool seen = std::search(room.begin(), room.end(), content.begin(),
                                      content.begin() + 16) != room.end();
        if (seen) FAIL("plaintext is left after byte " << at << " was damaged");
      }
      Bytes room(sealed.size());
      CHECK_FALSE(open(implementation, cipher, sealed, 4, room));  // another key
      CHECK_FALSE(open(implementation, cipher, std::span{sealed}.first(15), 3, room));
      CHECK_FALSE(open(implementation, cipher, {}, 3, room));
      Bytes small(content.size());  // one byte too small
      CHECK_FALSE(open(implementation, cipher, sealed, 3, small));
    }
  }
}

TEST_CASE("record cipher: a key of the wrong size is refused", "[tls][cipher]") {
  for (const auto& cipher : ciphers()) {
    for (const auto implementation : implementations()) {
      ExpandedKey key;
      CHECK_FALSE(key.init(implementation, cipher.aead, some_bytes(cipher.key_bytes - 1, 1)));
      Bytes out(100);
      CHECK_FALSE(key.seal({}, kHeader, {}, 23, out.data()));
      std::size_t size = 0;
      CHECK_FALSE(key.open({}, kHeader, out, out, size));
    }
  }
}

TEST_CASE("record cipher: the setting `library` is obeyed on every CPU", "[tls][cipher]") {
  CHECK(choose_record_cipher(RecordCipherChoice::library) == RecordCipher::library);
  const auto chosen = choose_record_cipher(RecordCipherChoice::automatic);
  CHECK((chosen == RecordCipher::library || multi_buffer::is_available()));
  CHECK(chosen == choose_record_cipher(RecordCipherChoice::automatic));
  CHECK(describe(RecordCipher::library) == library_version());
}

}  // namespace starttls::tls
