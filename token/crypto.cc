#include "token/crypto.h"

#include <algorithm>
#include <array>
#include <memory>
#include <string>

#include <gnutls/abstract.h>
#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <gnutls/x509.h>

namespace starttls::token {
namespace {

constexpr std::size_t kSha256 = 32;
constexpr std::size_t kP256 = 32;  // bytes of each half of a signature

template <auto free>
struct Freed {
  template <class T>
  void operator()(T* object) const noexcept {
    free(object);
  }
};
using PrivateKey = std::unique_ptr<gnutls_privkey_st, Freed<&gnutls_privkey_deinit>>;
using PublicKey = std::unique_ptr<gnutls_pubkey_st, Freed<&gnutls_pubkey_deinit>>;
using Certificate = std::unique_ptr<gnutls_x509_crt_int, Freed<&gnutls_x509_crt_deinit>>;

/// Bytes that GnuTLS has allocated.
struct Datum {
  Datum() = default;
  Datum(const Datum&) = delete;
  Datum& operator=(const Datum&) = delete;
  ~Datum() { gnutls_free(value.data); }

  gnutls_datum_t value{nullptr, 0};
};

/// Points to `text`. GnuTLS takes no const pointer, and does not write.
gnutls_datum_t view(std::string_view text) noexcept {
  return {reinterpret_cast<unsigned char*>(const_cast<char*>(text.data())),
          static_cast<unsigned>(text.size())};
}

tl::unexpected<Failure> wrong(std::string_view what, int code) {
  return failed(Exit::config, std::string(what) + ": " + gnutls_strerror(code));
}

Outcome<PrivateKey> load_key(std::string_view pem) {
  gnutls_privkey_t raw = nullptr;
  if (const int code = gnutls_privkey_init(&raw); code < 0) return wrong("key", code);
  PrivateKey key{raw};
  const auto data = view(pem);
  const int code = gnutls_privkey_import_x509_raw(raw, &data, GNUTLS_X509_FMT_PEM, nullptr, 0);
  if (code < 0) return wrong("the private key cannot be used", code);
  return key;
}

/// Copies a big-endian number to the end of `out`, without a leading zero.
void copy_number(const gnutls_datum_t& number, std::uint8_t* out) {
  const unsigned char* from = number.data;
  std::size_t size = number.size;
  while (size > kP256) {  // DER adds a zero where the first bit is set
    ++from;
    --size;
  }
  std::copy_n(from, size, out + (kP256 - size));
}

/// RFC 7518 §3.4: two numbers of 32 bytes, and no DER.
Outcome<std::vector<std::uint8_t>> es256_from_der(const gnutls_datum_t& der) {
  Datum r;
  Datum s;
  if (const int code = gnutls_decode_rs_value(&der, &r.value, &s.value); code < 0) {
    return wrong("the signature cannot be read", code);
  }
  std::vector<std::uint8_t> signature(2 * kP256);
  copy_number(r.value, signature.data());
  copy_number(s.value, signature.data() + kP256);
  return signature;
}

gnutls_sign_algorithm_t gnutls_name(Algorithm algorithm) noexcept {
  switch (algorithm) {
    case Algorithm::rs256:
      return GNUTLS_SIGN_RSA_SHA256;
    case Algorithm::ps256:
      return GNUTLS_SIGN_RSA_PSS_RSAE_SHA256;
    case Algorithm::es256:
      return GNUTLS_SIGN_ECDSA_SHA256;
  }
  return GNUTLS_SIGN_UNKNOWN;
}

}  // namespace

std::vector<std::uint8_t> sha256(std::string_view text) {
  std::vector<std::uint8_t> digest(kSha256);
  // It fails only if SHA-256 does not exist.
  if (gnutls_hash_fast(GNUTLS_DIG_SHA256, text.data(), text.size(), digest.data()) < 0) {
    std::abort();
  }
  return digest;
}

Outcome<Algorithm> algorithm_for(std::string_view key_pem, std::string_view wanted) {
  const auto key = load_key(key_pem);
  if (!key) return failed(key.error());
  unsigned bits = 0;
  const int type = gnutls_privkey_get_pk_algorithm(key->get(), &bits);
  const bool is_rsa = type == GNUTLS_PK_RSA;
  if (!is_rsa && (type != GNUTLS_PK_ECDSA || bits != 256)) {
    return failed(Exit::config, "the private key must be RSA, or of the curve P-256");
  }
  if (wanted.empty()) return is_rsa ? Algorithm::ps256 : Algorithm::es256;
  for (const auto each : {Algorithm::rs256, Algorithm::ps256, Algorithm::es256}) {
    if (name(each) != wanted) continue;
    if (is_rsa == (each != Algorithm::es256)) return each;
    return failed(Exit::config, "algorithm " + std::string(wanted) + " does not fit the key");
  }
  return failed(Exit::config, "algorithm must be RS256, PS256 or ES256");
}

Outcome<std::vector<std::uint8_t>> sign(std::string_view key_pem, Algorithm algorithm,
                                        std::string_view text) {
  const auto key = load_key(key_pem);
  if (!key) return failed(key.error());
  Datum signature;
  const auto data = view(text);
  const int code =
      gnutls_privkey_sign_data2(key->get(), gnutls_name(algorithm), 0, &data, &signature.value);
  if (code < 0) return wrong("the private key cannot sign", code);
  if (algorithm == Algorithm::es256) return es256_from_der(signature.value);
  return std::vector<std::uint8_t>(signature.value.data,
                                   signature.value.data + signature.value.size);
}

Outcome<std::vector<std::uint8_t>> certificate_digest(std::string_view certificate_pem,
                                                      std::string_view key_pem) {
  const auto key = load_key(key_pem);
  if (!key) return failed(key.error());
  gnutls_x509_crt_t raw = nullptr;
  if (const int code = gnutls_x509_crt_init(&raw); code < 0) return wrong("certificate", code);
  const Certificate certificate{raw};
  const auto data = view(certificate_pem);
  if (const int code = gnutls_x509_crt_import(raw, &data, GNUTLS_X509_FMT_PEM); code < 0) {
    return wrong("the certificate cannot be used", code);
  }
  std::array<unsigned char, kSha256> of_certificate{};
  std::array<unsigned char, kSha256> of_key{};
  std::size_t size = of_certificate.size();
  int code = gnutls_x509_crt_get_key_id(raw, GNUTLS_KEYID_USE_SHA256, of_certificate.data(), &size);
  if (code < 0) return wrong("the certificate's key cannot be used", code);
  gnutls_pubkey_t raw_public = nullptr;
  code = gnutls_pubkey_init(&raw_public);
  if (code < 0) return wrong("key", code);
  const PublicKey public_key{raw_public};
  code = gnutls_pubkey_import_privkey(raw_public, key->get(), 0, 0);
  size = of_key.size();
  if (code >= 0) {
    code = gnutls_pubkey_get_key_id(raw_public, GNUTLS_KEYID_USE_SHA256, of_key.data(), &size);
  }
  if (code < 0) return wrong("the private key cannot be used", code);
  if (of_certificate != of_key) {
    return failed(Exit::config, "the certificate does not belong to the key");
  }
  std::vector<std::uint8_t> digest(kSha256);
  size = digest.size();
  code = gnutls_x509_crt_get_fingerprint(raw, GNUTLS_DIG_SHA256, digest.data(), &size);
  if (code < 0) return wrong("the certificate cannot be used", code);
  return digest;
}

}  // namespace starttls::token
