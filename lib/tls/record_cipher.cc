#include "lib/tls/record_cipher.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdint>
#include <span>
#include <vector>

#include "lib/tls/context.h"
#include "lib/tls/expanded_key.h"
#include "lib/tls/library.h"

namespace starttls::tls {
namespace {

using Bytes = std::vector<std::uint8_t>;
using Nonce = ExpandedKey::Nonce;

/// A record of RFC 8448 §3: the client's application data, the first under its key.
struct Vector {
  std::array<std::uint8_t, 16> key;
  Nonce nonce;
  std::array<std::uint8_t, 5> header;
  std::array<std::uint8_t, 67> sealed;  // of the bytes 0 to 49, and the type 23
};
constexpr Vector kRfc8448 = {
    .key = {0x17, 0x42, 0x2d, 0xda, 0x59, 0x6e, 0xd5, 0xd9, 0xac, 0xd8, 0x90, 0xe3, 0xc6, 0x3f,
            0x50, 0x51},
    .nonce = {0x5b, 0x78, 0x92, 0x3d, 0xee, 0x08, 0x57, 0x90, 0x33, 0xe5, 0x23, 0xd9},
    .header = {0x17, 0x03, 0x03, 0x00, 0x43},
    .sealed = {0xa2, 0x3f, 0x70, 0x54, 0xb6, 0x2c, 0x94, 0xd0, 0xaf, 0xfa, 0xfe, 0x82, 0x28, 0xba,
               0x55, 0xcb, 0xef, 0xac, 0xea, 0x42, 0xf9, 0x14, 0xaa, 0x66, 0xbc, 0xab, 0x3f, 0x2b,
               0x98, 0x19, 0xa8, 0xa5, 0xb4, 0x6b, 0x39, 0x5b, 0xd5, 0x4a, 0x9a, 0x20, 0x44, 0x1e,
               0x2b, 0x62, 0x97, 0x4e, 0x1f, 0x5a, 0x62, 0x92, 0xa2, 0x97, 0x70, 0x14, 0xbd, 0x1e,
               0x3d, 0xea, 0xe6, 0x3a, 0xee, 0xbb, 0x21, 0x69, 0x49, 0x15, 0xe4}};

Bytes sealed_by(const ExpandedKey& key, const Nonce& nonce, std::span<const std::uint8_t> header,
                std::span<const std::uint8_t> content, std::uint8_t last) {
  Bytes out(content.size() + 1 + multi_buffer::kTag);
  if (!key.seal(nonce, header, content, last, out.data())) out.clear();
  return out;
}

Bytes opened_by(const ExpandedKey& key, const Nonce& nonce, std::span<const std::uint8_t> header,
                std::span<const std::uint8_t> sealed) {
  Bytes out(sealed.size());
  std::size_t size = 0;
  if (!key.open(nonce, header, sealed, out, size)) size = 0;
  out.resize(size);
  return out;
}

bool passes_rfc_8448(RecordCipher cipher) {
  ExpandedKey key;
  if (!key.init(cipher, EVP_aead_aes_128_gcm(), kRfc8448.key)) return false;
  Bytes content(50);
  for (std::size_t i = 0; i < content.size(); ++i) content[i] = static_cast<std::uint8_t>(i);
  constexpr std::uint8_t kApplicationData = 23;
  const Bytes sealed = sealed_by(key, kRfc8448.nonce, kRfc8448.header, content, kApplicationData);
  if (!std::ranges::equal(sealed, kRfc8448.sealed)) return false;
  content.push_back(kApplicationData);
  return opened_by(key, kRfc8448.nonce, kRfc8448.header, kRfc8448.sealed) == content;
}

Bytes random_bytes(std::size_t size) {
  Bytes bytes(size);
  RAND_bytes(bytes.data(), bytes.size());
  return bytes;
}

/// True if `one` and `other`, which have the same key, treat a record of `size` bytes alike.
bool agree_on(const ExpandedKey& one, const ExpandedKey& other, std::size_t size) {
  Nonce nonce;
  RAND_bytes(nonce.data(), nonce.size());
  const Bytes header = random_bytes(5);
  Bytes plain = random_bytes(size + 1);
  const std::span<const std::uint8_t> content{plain.data(), size};
  Bytes sealed = sealed_by(one, nonce, header, content, plain.back());
  if (sealed.empty() || sealed != sealed_by(other, nonce, header, content, plain.back()))
    return false;
  if (opened_by(one, nonce, header, sealed) != plain) return false;
  // Damage the first byte, and then the last one, which belongs to the tag.
  for (std::uint8_t* byte : {&sealed.front(), &sealed.back()}) {
    *byte ^= 0x80U;
    if (!opened_by(one, nonce, header, sealed).empty()) return false;
    *byte ^= 0x80U;
  }
  Bytes other_header = header;
  other_header[0] ^= 1U;
  return opened_by(one, nonce, other_header, sealed).empty();
}

bool agree_with(const EVP_AEAD* aead) {
  constexpr std::size_t kSizes[] = {0,   1,   14,  15,  16,  17,  31,  32,   47,   48,   127,
                                    128, 255, 256, 257, 767, 768, 769, 1400, 4096, 16384};
  const Bytes bytes = random_bytes(EVP_AEAD_key_length(aead));
  ExpandedKey fast;
  ExpandedKey library;
  return fast.init(RecordCipher::multi_buffer, aead, bytes) &&
         library.init(RecordCipher::library, aead, bytes) &&
         std::ranges::all_of(kSizes,
                             [&](std::size_t size) { return agree_on(fast, library, size); });
}

/// Returns the time that a cipher needs for some records of full size.
std::chrono::nanoseconds time_of(RecordCipher cipher) {
  constexpr int kRecords = 8;
  constexpr std::size_t kSize = 16384;
  const Bytes bytes = random_bytes(16);
  const Bytes content(kSize);
  Bytes out(kSize + 1 + multi_buffer::kTag);
  const Nonce nonce{};
  const auto from = std::chrono::steady_clock::now();
  ExpandedKey key;
  bool done = key.init(cipher, EVP_aead_aes_128_gcm(), bytes);
  for (int i = 0; i < kRecords; ++i) done = done && key.seal(nonce, {}, content, 0, out.data());
  return done ? std::chrono::steady_clock::now() - from : std::chrono::hours{1};
}

/// True if libipsec-mb is the faster one. The best of several turns counts, so that a turn that was
/// interrupted does not.
bool is_multi_buffer_faster() {
  constexpr int kTurns = 6;
  std::chrono::nanoseconds fast = std::chrono::hours{1};
  std::chrono::nanoseconds library = std::chrono::hours{1};
  for (int i = 0; i < kTurns; ++i) {
    fast = std::min(fast, time_of(RecordCipher::multi_buffer));
    library = std::min(library, time_of(RecordCipher::library));
  }
  return fast < library;
}

}  // namespace

bool ciphers_agree() {
  return passes_rfc_8448(RecordCipher::library) && passes_rfc_8448(RecordCipher::multi_buffer) &&
         agree_with(EVP_aead_aes_128_gcm()) && agree_with(EVP_aead_aes_256_gcm());
}

RecordCipher choose_record_cipher(RecordCipherChoice setting) {
  if (setting == RecordCipherChoice::library) return RecordCipher::library;
  static const RecordCipher fastest =
      multi_buffer::is_available() && ciphers_agree() && is_multi_buffer_faster()
          ? RecordCipher::multi_buffer
          : RecordCipher::library;
  return fastest;
}

std::string describe(RecordCipher cipher) {
  return cipher == RecordCipher::multi_buffer ? multi_buffer::version() : library_version();
}

}  // namespace starttls::tls
