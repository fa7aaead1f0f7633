#include "tools/pki/pki.h"

#include <arpa/inet.h>
#include <openssl/asn1.h>
#include <openssl/bio.h>
#include <openssl/bn.h>
#include <openssl/digest.h>
#include <openssl/ec.h>
#include <openssl/ec_key.h>
#include <openssl/evp.h>
#include <openssl/mem.h>
#include <openssl/nid.h>
#include <openssl/obj.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/rsa.h>
#include <openssl/sha.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include <ctime>
#include <stdexcept>
#include <string_view>
#include <utility>

namespace starttls::pki {

struct Identity::Impl {
  bssl::UniquePtr<X509> certificate;
  bssl::UniquePtr<EVP_PKEY> key;
  std::shared_ptr<const Impl> issuer;  // null: self-signed
};

namespace {

void check(bool ok, const char* what) {
  if (!ok) throw std::runtime_error(std::string("cannot make a certificate: ") + what);
}

template <typename T>
T* checked(T* pointer, const char* what) {
  check(pointer != nullptr, what);
  return pointer;
}

void set_bytes(ASN1_STRING* string, std::string_view bytes) {
  check(ASN1_STRING_set(string, bytes.data(), static_cast<int>(bytes.size())) == 1, "string");
}

bssl::UniquePtr<EVP_PKEY> make_rsa_key(int bits) {
  bssl::UniquePtr<EVP_PKEY> key(checked(EVP_PKEY_new(), "key"));
  const bssl::UniquePtr<RSA> rsa(checked(RSA_new(), "key"));
  const bssl::UniquePtr<BIGNUM> exponent(checked(BN_new(), "key"));
  check(BN_set_word(exponent.get(), RSA_F4) == 1 &&
            RSA_generate_key_ex(rsa.get(), bits, exponent.get(), nullptr) == 1 &&
            EVP_PKEY_set1_RSA(key.get(), rsa.get()) == 1,
        "RSA key");
  return key;
}

bssl::UniquePtr<EVP_PKEY> make_ecdsa_key(int curve) {
  bssl::UniquePtr<EVP_PKEY> key(checked(EVP_PKEY_new(), "key"));
  const bssl::UniquePtr<EC_KEY> ec(checked(EC_KEY_new_by_curve_name(curve), "key"));
  check(EC_KEY_generate_key(ec.get()) == 1 && EVP_PKEY_set1_EC_KEY(key.get(), ec.get()) == 1,
        "ECDSA key");
  return key;
}

bssl::UniquePtr<EVP_PKEY> make_ed25519_key() {
  unsigned char seed[32];
  RAND_bytes(seed, sizeof(seed));
  return bssl::UniquePtr<EVP_PKEY>(checked(
      EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, nullptr, seed, sizeof(seed)), "Ed25519 key"));
}

bool is_rsa(KeyType type) {
  return type == KeyType::rsa_4096 || type == KeyType::rsa_2048 || type == KeyType::rsa_1024;
}

bssl::UniquePtr<EVP_PKEY> make_key(KeyType type) {
  switch (type) {
    case KeyType::ecdsa_p256:
      return make_ecdsa_key(NID_X9_62_prime256v1);
    case KeyType::ecdsa_p384:
      return make_ecdsa_key(NID_secp384r1);
    case KeyType::ecdsa_p521:
      return make_ecdsa_key(NID_secp521r1);
    case KeyType::ed25519:
      return make_ed25519_key();
    case KeyType::rsa_4096:
      return make_rsa_key(4096);
    case KeyType::rsa_2048:
      return make_rsa_key(2048);
    case KeyType::rsa_1024:
      return make_rsa_key(1024);
  }
  throw std::runtime_error("unknown kind of key");
}

void add_extension(X509* certificate, int nid, void* value, bool critical) {
  check(X509_add1_ext_i2d(certificate, nid, value, critical ? 1 : 0, X509V3_ADD_DEFAULT) == 1,
        "extension");
}

bssl::UniquePtr<GENERAL_NAME> make_dns_name(std::string_view name) {
  bssl::UniquePtr<ASN1_IA5STRING> string(checked(ASN1_IA5STRING_new(), "name"));
  set_bytes(string.get(), name);
  bssl::UniquePtr<GENERAL_NAME> out(checked(GENERAL_NAME_new(), "name"));
  GENERAL_NAME_set0_value(out.get(), GEN_DNS, string.release());
  return out;
}

bssl::UniquePtr<GENERAL_NAME> make_ip_name(const std::string& literal) {
  unsigned char bytes[16];
  std::size_t size = 4;
  if (inet_pton(AF_INET, literal.c_str(), bytes) != 1) {
    size = 16;
    check(inet_pton(AF_INET6, literal.c_str(), bytes) == 1, "IP address");
  }
  bssl::UniquePtr<ASN1_OCTET_STRING> string(checked(ASN1_OCTET_STRING_new(), "name"));
  set_bytes(string.get(), {reinterpret_cast<const char*>(bytes), size});
  bssl::UniquePtr<GENERAL_NAME> out(checked(GENERAL_NAME_new(), "name"));
  GENERAL_NAME_set0_value(out.get(), GEN_IPADD, string.release());
  return out;
}

void add_names(X509* certificate, const CertificateOptions& options) {
  if (options.dns_names.empty() && options.ip_addresses.empty()) return;
  const bssl::UniquePtr<GENERAL_NAMES> names(checked(GENERAL_NAMES_new(), "names"));
  for (const std::string& name : options.dns_names) {
    check(bssl::PushToStack(names.get(), make_dns_name(name)), "names");
  }
  for (const std::string& literal : options.ip_addresses) {
    check(bssl::PushToStack(names.get(), make_ip_name(literal)), "names");
  }
  add_extension(certificate, NID_subject_alt_name, names.get(), false);
}

void add_basic_constraints(X509* certificate, const CertificateOptions& options) {
  const bssl::UniquePtr<BASIC_CONSTRAINTS> constraints(
      checked(BASIC_CONSTRAINTS_new(), "constraints"));
  constraints->ca = options.ca ? 0xff : 0;  // DER TRUE
  if (options.path_length) {
    constraints->pathlen = checked(ASN1_INTEGER_new(), "constraints");
    check(ASN1_INTEGER_set(constraints->pathlen, *options.path_length) == 1, "constraints");
  }
  add_extension(certificate, NID_basic_constraints, constraints.get(), true);
}

void add_key_usage(X509* certificate, const CertificateOptions& options) {
  // RFC 5280 §4.2.1.3: bit 0 digitalSignature; 5 keyCertSign, 6 cRLSign.
  const bssl::UniquePtr<ASN1_BIT_STRING> bits(checked(ASN1_BIT_STRING_new(), "key usage"));
  if (options.ca) {
    check(ASN1_BIT_STRING_set_bit(bits.get(), 5, 1) == 1 &&
              ASN1_BIT_STRING_set_bit(bits.get(), 6, 1) == 1,
          "key usage");
  } else {
    check(ASN1_BIT_STRING_set_bit(bits.get(), 0, 1) == 1, "key usage");
    // Bit 2, keyEncipherment, is for the RSA key exchange of TLS 1.2 and older.
    if (is_rsa(options.key)) {
      check(ASN1_BIT_STRING_set_bit(bits.get(), 2, 1) == 1, "key usage");
    }
  }
  add_extension(certificate, NID_key_usage, bits.get(), true);
}

void add_extended_key_usage(X509* certificate, Usage usage) {
  if (usage == Usage::unspecified) return;
  const int nid = usage == Usage::server ? NID_server_auth : NID_client_auth;
  const bssl::UniquePtr<STACK_OF(ASN1_OBJECT)> purposes(
      checked(sk_ASN1_OBJECT_new_null(), "extended key usage"));
  bssl::UniquePtr<ASN1_OBJECT> purpose(checked(OBJ_nid2obj(nid), "extended key usage"));
  check(bssl::PushToStack(purposes.get(), std::move(purpose)), "extended key usage");
  add_extension(certificate, NID_ext_key_usage, purposes.get(), false);
}

void add_name_constraints(X509* certificate, const CertificateOptions& options) {
  if (options.permitted_dns.empty()) return;
  const bssl::UniquePtr<NAME_CONSTRAINTS> constraints(
      checked(NAME_CONSTRAINTS_new(), "name constraints"));
  constraints->permittedSubtrees = checked(sk_GENERAL_SUBTREE_new_null(), "name constraints");
  for (const std::string& name : options.permitted_dns) {
    bssl::UniquePtr<GENERAL_SUBTREE> subtree(checked(GENERAL_SUBTREE_new(), "name constraints"));
    GENERAL_NAME_free(subtree->base);
    subtree->base = make_dns_name(name).release();
    check(bssl::PushToStack(constraints->permittedSubtrees, std::move(subtree)),
          "name constraints");
  }
  add_extension(certificate, NID_name_constraints, constraints.get(), true);
}

std::string key_identifier(EVP_PKEY* key) {
  unsigned char* der = nullptr;
  const int size = i2d_PUBKEY(key, &der);
  check(size > 0, "key identifier");
  const bssl::UniquePtr<unsigned char> owned(der);
  unsigned char digest[SHA256_DIGEST_LENGTH];
  SHA256(der, static_cast<std::size_t>(size), digest);
  return std::string(digest, digest + 20);
}

void add_subject_key_id(X509* certificate, EVP_PKEY* subject) {
  const bssl::UniquePtr<ASN1_OCTET_STRING> own(checked(ASN1_OCTET_STRING_new(), "identifier"));
  set_bytes(own.get(), key_identifier(subject));
  add_extension(certificate, NID_subject_key_identifier, own.get(), false);
}

void add_authority_key_id(X509* certificate, EVP_PKEY* issuer) {
  const bssl::UniquePtr<AUTHORITY_KEYID> authority(checked(AUTHORITY_KEYID_new(), "identifier"));
  authority->keyid = checked(ASN1_OCTET_STRING_new(), "identifier");
  set_bytes(authority->keyid, key_identifier(issuer));
  add_extension(certificate, NID_authority_key_identifier, authority.get(), false);
}

void set_subject(X509* certificate, const std::string& common_name) {
  const bssl::UniquePtr<X509_NAME> name(checked(X509_NAME_new(), "subject"));
  const auto* text = reinterpret_cast<const unsigned char*>(common_name.data());
  check(X509_NAME_add_entry_by_NID(name.get(), NID_commonName, MBSTRING_UTF8, text,
                                   static_cast<int>(common_name.size()), -1, 0) == 1 &&
            X509_set_subject_name(certificate, name.get()) == 1,
        "subject");
}

void set_serial_number(X509* certificate) {
  unsigned char bytes[8];
  RAND_bytes(bytes, sizeof(bytes));
  bytes[0] = static_cast<unsigned char>((bytes[0] & 0x7fU) | 0x40U);  // positive, no leading zero
  const bssl::UniquePtr<BIGNUM> number(checked(BN_bin2bn(bytes, sizeof(bytes), nullptr), "serial"));
  const bssl::UniquePtr<ASN1_INTEGER> serial(
      checked(BN_to_ASN1_INTEGER(number.get(), nullptr), "serial"));
  check(X509_set_serialNumber(certificate, serial.get()) == 1, "serial number");
}

void set_validity(X509* certificate, const CertificateOptions& options) {
  const std::chrono::seconds now{std::time(nullptr)};
  const auto make = [](std::chrono::seconds at) {
    return bssl::UniquePtr<ASN1_TIME>(checked(ASN1_TIME_set(nullptr, at.count()), "validity"));
  };
  const auto from = make(options.begins.value_or(now + options.not_before));
  const auto to = make(options.ends.value_or(now + options.not_after));
  check(X509_set1_notBefore(certificate, from.get()) == 1 &&
            X509_set1_notAfter(certificate, to.get()) == 1,
        "validity");
}

/// Makes a certificate that `issuer_key` of `issuer` signs. It is self-signed if `issuer` is null.
bssl::UniquePtr<X509> make_certificate(const CertificateOptions& options, EVP_PKEY* key,
                                       const X509* issuer, EVP_PKEY* issuer_key) {
  bssl::UniquePtr<X509> out(checked(X509_new(), "certificate"));
  X509* certificate = out.get();
  check(X509_set_version(certificate, X509_VERSION_3) == 1, "version");
  set_serial_number(certificate);
  set_validity(certificate, options);
  set_subject(certificate, options.common_name);
  const X509* signer = issuer != nullptr ? issuer : certificate;
  check(X509_set_issuer_name(certificate, X509_get_subject_name(signer)) == 1 &&
            X509_set_pubkey(certificate, key) == 1,
        "names and key");
  add_basic_constraints(certificate, options);
  add_key_usage(certificate, options);
  if (!options.ca) add_extended_key_usage(certificate, options.usage);
  add_names(certificate, options);
  add_name_constraints(certificate, options);
  add_subject_key_id(certificate, key);
  if (options.authority_key_id) add_authority_key_id(certificate, issuer_key);
  const EVP_MD* digest = options.digest == Digest::sha1 ? EVP_sha1() : EVP_sha256();
  if (EVP_PKEY_id(issuer_key) == EVP_PKEY_ED25519) digest = nullptr;  // it has its own
  check(X509_sign(certificate, issuer_key, digest) > 0, "signature");
  return out;
}

template <typename Write>
std::string to_pem(Write write) {
  const bssl::UniquePtr<BIO> bio(checked(BIO_new(BIO_s_mem()), "PEM"));
  check(write(bio.get()) == 1, "PEM");
  const std::uint8_t* data = nullptr;
  std::size_t size = 0;
  check(BIO_mem_contents(bio.get(), &data, &size) == 1, "PEM");
  return std::string(reinterpret_cast<const char*>(data), size);
}

}  // namespace

Identity::Identity(std::shared_ptr<const Impl> impl) noexcept : impl_(std::move(impl)) {}

Identity Identity::self_signed(const CertificateOptions& options) {
  auto impl = std::make_shared<Impl>();
  impl->key = make_key(options.key);
  impl->certificate = make_certificate(options, impl->key.get(), nullptr, impl->key.get());
  return Identity(std::move(impl));
}

Identity Identity::issue(const CertificateOptions& options) const {
  auto impl = std::make_shared<Impl>();
  impl->key = make_key(options.key);
  impl->certificate =
      make_certificate(options, impl->key.get(), impl_->certificate.get(), impl_->key.get());
  impl->issuer = impl_;
  return Identity(std::move(impl));
}

Identity Identity::issue_for(const Identity& subject, const CertificateOptions& options) const {
  auto impl = std::make_shared<Impl>();
  impl->key = bssl::UpRef(subject.impl_->key);
  impl->certificate =
      make_certificate(options, impl->key.get(), impl_->certificate.get(), impl_->key.get());
  impl->issuer = impl_;
  return Identity(std::move(impl));
}

std::string Identity::certificate_pem() const {
  return to_pem([this](BIO* bio) { return PEM_write_bio_X509(bio, impl_->certificate.get()); });
}

std::string Identity::chain_pem() const {
  std::string out = certificate_pem();
  for (auto above = impl_->issuer; above != nullptr && above->issuer != nullptr;
       above = above->issuer) {
    out += Identity(above).certificate_pem();
  }
  return out;
}

std::string Identity::key_pem() const {
  return to_pem([this](BIO* bio) {
    return PEM_write_bio_PKCS8PrivateKey(bio, impl_->key.get(), nullptr, nullptr, 0, nullptr,
                                         nullptr);
  });
}

}  // namespace starttls::pki
