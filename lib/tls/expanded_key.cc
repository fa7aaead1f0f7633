#include "lib/tls/expanded_key.h"

namespace starttls::tls {

bool ExpandedKey::init(RecordCipher cipher, const EVP_AEAD* aead,
                       std::span<const std::uint8_t> key) noexcept {
  wipe();
  if (key.size() != EVP_AEAD_key_length(aead)) return false;
  const bool is_gcm = aead == EVP_aead_aes_128_gcm() || aead == EVP_aead_aes_256_gcm();
  if (cipher == RecordCipher::multi_buffer && is_gcm) {
    multi_buffer::expand(key, multi_buffer_);
    kind_ = aead == EVP_aead_aes_256_gcm() ? Kind::aes_256 : Kind::aes_128;
    return true;
  }
  if (EVP_AEAD_CTX_init(library_.get(), aead, key.data(), key.size(), multi_buffer::kTag,
                        nullptr) != 1) {
    ERR_clear_error();
    return false;
  }
  kind_ = Kind::library;
  return true;
}

void ExpandedKey::wipe() noexcept {
  switch (kind_) {
    case Kind::none:
      break;
    case Kind::library:
      library_.Reset();
      OPENSSL_cleanse(library_.get(), sizeof *library_.get());
      break;
    case Kind::aes_128:
    case Kind::aes_256:
      OPENSSL_cleanse(multi_buffer_.bytes, sizeof multi_buffer_.bytes);
      break;
  }
  kind_ = Kind::none;
}

multi_buffer::Record ExpandedKey::record(const Nonce& nonce,
                                         std::span<const std::uint8_t> additional) const noexcept {
  return {.key = multi_buffer_,
          .is_aes_256 = kind_ == Kind::aes_256,
          .nonce = nonce,
          .additional = additional};
}

bool ExpandedKey::open(const Nonce& nonce, std::span<const std::uint8_t> additional,
                       std::span<const std::uint8_t> sealed, std::span<std::uint8_t> out,
                       std::size_t& size) const noexcept {
  switch (kind_) {
    case Kind::none:
      return false;
    case Kind::library:
      if (EVP_AEAD_CTX_open(library_.get(), out.data(), &size, out.size(), nonce.data(),
                            nonce.size(), sealed.data(), sealed.size(), additional.data(),
                            additional.size()) == 1) {
        return true;
      }
      ERR_clear_error();
      return false;
    case Kind::aes_128:
    case Kind::aes_256:
      break;
  }
  if (sealed.size() < multi_buffer::kTag || out.size() < sealed.size() - multi_buffer::kTag)
    return false;
  size = sealed.size() - multi_buffer::kTag;
  return multi_buffer::open(record(nonce, additional), sealed, out.data());
}

bool ExpandedKey::seal(const Nonce& nonce, std::span<const std::uint8_t> additional,
                       std::span<const std::uint8_t> content, std::uint8_t last,
                       std::uint8_t* out) const noexcept {
  switch (kind_) {
    case Kind::none:
      return false;
    case Kind::library: {
      std::size_t tail = 0;  // `last`, encrypted, and the tag
      if (EVP_AEAD_CTX_seal_scatter(library_.get(), out, out + content.size(), &tail,
                                    1 + multi_buffer::kTag, nonce.data(), nonce.size(),
                                    content.data(), content.size(), &last, 1, additional.data(),
                                    additional.size()) == 1) {
        return tail == 1 + multi_buffer::kTag;
      }
      ERR_clear_error();
      return false;
    }
    case Kind::aes_128:
    case Kind::aes_256:
      break;
  }
  multi_buffer::seal(record(nonce, additional), content, last, out);
  return true;
}

}  // namespace starttls::tls
