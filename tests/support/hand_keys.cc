#include "tests/support/hand_keys.h"

#include <stdexcept>
#include <utility>

namespace starttls::test {
namespace {

const std::uint8_t* as_uint8(std::string_view text) {
  return reinterpret_cast<const std::uint8_t*>(text.data());
}
std::uint8_t* as_uint8(std::string& text) {
  return reinterpret_cast<std::uint8_t*>(text.data());
}

void must(bool ok, const char* what) {
  if (!ok) throw std::runtime_error(what);
}

const EVP_MD* digest_of(std::uint16_t suite) {
  return suite == kAes256Gcm ? EVP_sha384() : EVP_sha256();
}

const EVP_AEAD* aead_of(std::uint16_t suite) {
  if (suite == kChaCha20) return EVP_aead_chacha20_poly1305();
  return suite == kAes256Gcm ? EVP_aead_aes_256_gcm() : EVP_aead_aes_128_gcm();
}

std::string big_endian(std::size_t value, unsigned count) {
  std::string out;
  while (count-- > 0) out += static_cast<char>(value >> (8 * count) & 0xffU);
  return out;
}

constexpr std::size_t kHeader = 5;
constexpr std::size_t kTag = 16;

}  // namespace

std::size_t secret_size(std::uint16_t suite) {
  return EVP_MD_size(digest_of(suite));
}

HandKeys::HandKeys(std::uint16_t suite, std::string secret, std::uint64_t sequence)
    : suite_(suite), secret_(std::move(secret)), sequence_(sequence) {
  derive();
}

void HandKeys::derive() {
  const std::string key = expand("key", EVP_AEAD_key_length(aead_of(suite_)));
  iv_ = expand("iv", 12);
  aead_.reset(EVP_AEAD_CTX_new(aead_of(suite_), as_uint8(key), key.size(), kTag));
  must(aead_ != nullptr, "AEAD");
}

/// Follows RFC 8446 §7.1 and RFC 5869 §2.3. No output here is longer than the hash, so there is one
/// block.
std::string HandKeys::expand(std::string_view label, std::size_t size) const {
  const std::string name = "tls13 " + std::string(label);
  const std::string info =
      big_endian(size, 2) + big_endian(name.size(), 1) + name + std::string("\0\1", 2);
  std::string out(EVP_MAX_MD_SIZE, '\0');
  unsigned count = 0;
  must(HMAC(digest_of(suite_), secret_.data(), secret_.size(), as_uint8(info), info.size(),
            as_uint8(out), &count) != nullptr,
       "HMAC");
  out.resize(size);
  return out;
}

std::string HandKeys::nonce() {
  std::string out = iv_;
  const std::string number = std::string(4, '\0') + big_endian(sequence_++, 8);
  for (std::size_t i = 0; i < out.size(); ++i) {
    out[i] = static_cast<char>(static_cast<unsigned char>(out[i]) ^
                               static_cast<unsigned char>(number[i]));
  }
  return out;
}

std::string HandKeys::seal(std::string_view inner) {
  const std::string header = "\x17\x03\x03" + big_endian(inner.size() + kTag, 2);
  std::string body(inner.size() + kTag, '\0');
  std::size_t size = 0;
  const std::string number = nonce();
  must(EVP_AEAD_CTX_seal(aead_.get(), as_uint8(body), &size, body.size(), as_uint8(number),
                         number.size(), as_uint8(inner), inner.size(), as_uint8(header),
                         header.size()) == 1,
       "seal");
  return header + body;
}

std::string HandKeys::record(std::uint8_t type, std::string_view content, std::size_t padding) {
  return seal(std::string(content) + static_cast<char>(type) + std::string(padding, '\0'));
}

std::string HandKeys::key_update(bool requested) {
  std::string out = record(content::kHandshake, message(24, requested ? "\1" : std::string(1, 0)));
  update();
  return out;
}

std::optional<HandKeys::Inner> HandKeys::open(std::string_view& wire) {
  if (wire.size() < kHeader) return std::nullopt;
  const std::size_t size = static_cast<std::size_t>(static_cast<unsigned char>(wire[3])) << 8U |
                           static_cast<unsigned char>(wire[4]);
  if (wire.size() < kHeader + size) return std::nullopt;
  const auto header = wire.substr(0, kHeader);
  const auto body = wire.substr(kHeader, size);
  std::string inner(size, '\0');
  std::size_t count = 0;
  const std::string number = nonce();
  if (EVP_AEAD_CTX_open(aead_.get(), as_uint8(inner), &count, inner.size(), as_uint8(number),
                        number.size(), as_uint8(body), body.size(), as_uint8(header),
                        header.size()) != 1) {
    ERR_clear_error();
    return std::nullopt;
  }
  wire.remove_prefix(kHeader + size);
  inner.resize(count);
  while (!inner.empty() && inner.back() == '\0') inner.pop_back();
  if (inner.empty()) return Inner{};
  const auto type = static_cast<std::uint8_t>(inner.back());
  inner.pop_back();
  return Inner{type, inner};
}

void HandKeys::update() {
  secret_ = expand("traffic upd", secret_.size());
  sequence_ = 0;
  derive();
}

std::string message(std::uint8_t type, std::string_view body) {
  return static_cast<char>(type) + big_endian(body.size(), 3) + std::string(body);
}

std::string new_session_ticket(std::size_t ticket_bytes) {
  const std::string nonce = "0";
  return message(4, big_endian(7200, 4) + big_endian(4711, 4) + big_endian(nonce.size(), 1) +
                        nonce + big_endian(ticket_bytes, 2) + std::string(ticket_bytes, 't') +
                        big_endian(0, 2));
}

}  // namespace starttls::test
