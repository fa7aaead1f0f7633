#include "lib/tls/pem.h"

#include <unistd.h>

#include <cstdint>
#include <cstdlib>
#include <string_view>
#include <utility>

#include "lib/base/ascii.h"
#include "lib/base/kept_secret.h"
#include "lib/base/regular_file.h"
#include "lib/base/secret.h"
#include "lib/tls/context_impl.h"
#include "lib/tls/pem_blocks.h"

namespace starttls::tls {
namespace {

constexpr std::size_t kMaxFile = std::size_t{16}
                                 << 20U;  // a system's trust store has 0.2 MiB; fits an int

constexpr const char* kSystemStores[] = {
    "/etc/ssl/certs/ca-certificates.crt",                 // Debian, Arch, Alpine
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",  // Fedora, RHEL
    "/etc/pki/tls/certs/ca-bundle.crt",                   // Fedora and RHEL of old
    "/var/lib/ca-certificates/ca-bundle.pem",             // SUSE
    "/etc/ssl/ca-bundle.pem",                             // SUSE of old
    "/etc/ssl/cert.pem",                                  // Alpine of old, BSD
};

/// Replaces all of the above, as in OpenSSL and Go.
constexpr const char* kStoreVariable = "SSL_CERT_FILE";

enum class Access : std::uint8_t { any, owner_only };

Result<std::string> read_file(const std::string& path, Access access) {
  const auto file = open_regular_file(path);
  if (!file) return fail(Errc::config, path + ": " + file.error().reason);
  if (access == Access::owner_only) {
    if (auto kept = check_kept_secret(file->status); !kept) {
      return fail(Errc::config, path + ": " + kept.error().reason);
    }
  }
  auto text = read_to_end(file->descriptor.get(), kMaxFile);
  if (!text) return fail(Errc::config, path + ": " + text.error().reason);
  return text;
}

bssl::UniquePtr<BIO> read_only(std::string_view text) {
  return bssl::UniquePtr<BIO>(BIO_new_mem_buf(text.data(), static_cast<int>(text.size())));
}

std::string library_text() {
  const std::uint32_t code = ERR_peek_error();
  ERR_clear_error();
  const char* reason = code != 0 ? ERR_reason_error_string(code) : nullptr;
  return reason != nullptr ? reason : "";
}

/// Decodes a block. Null if it does not decode, or if its decoded label differs from the block's.
bssl::UniquePtr<CRYPTO_BUFFER> decode(const PemBlock& block) {
  const auto bio = read_only(block.text);
  char* raw_name = nullptr;
  char* raw_header = nullptr;
  unsigned char* raw_data = nullptr;
  long size = 0;
  if (!bio || PEM_read_bio(bio.get(), &raw_name, &raw_header, &raw_data, &size) == 0) {
    return nullptr;
  }
  const bssl::UniquePtr<char> name(raw_name);
  const bssl::UniquePtr<char> header(raw_header);
  const bssl::UniquePtr<unsigned char> data(raw_data);
  if (name.get() != block.label) return nullptr;
  return bssl::UniquePtr<CRYPTO_BUFFER>(
      CRYPTO_BUFFER_new(data.get(), static_cast<std::size_t>(size), buffer_pool()));
}

/// Adds the purposes that a TRUSTED CERTIFICATE does not list to its rejected ones. Such a
/// certificate may list what it is trusted for. The library does not hold a certificate of the
/// store to that list, but to the list of what it is rejected for.
void reject_unlisted(CBS after_certificate, X509* certificate) {
  CBS aux;
  CBS list;
  if (CBS_get_asn1(&after_certificate, &aux, CBS_ASN1_SEQUENCE) == 0 ||
      CBS_get_asn1(&aux, &list, CBS_ASN1_SEQUENCE) == 0) {
    return;
  }
  for (const int purpose : {NID_server_auth, NID_client_auth}) {
    bool listed = false;
    CBS rest = list;
    CBS object;
    while (CBS_get_asn1(&rest, &object, CBS_ASN1_OBJECT) == 1) {
      const int nid = OBJ_cbs2nid(&object);
      listed = listed || nid == purpose || nid == NID_anyExtendedKeyUsage;
    }
    if (!listed) X509_add1_reject_object(certificate, OBJ_nid2obj(purpose));
  }
}

/// Parses the certificate of a block. For a TRUSTED CERTIFICATE this includes the purposes that it
/// is trusted for.
bssl::UniquePtr<X509> parse(std::string_view label, CRYPTO_BUFFER* der) {
  if (label != PEM_STRING_X509_TRUSTED) {
    return bssl::UniquePtr<X509>(X509_parse_from_buffer(der));
  }
  const std::uint8_t* at = CRYPTO_BUFFER_data(der);
  const std::uint8_t* const end = at + CRYPTO_BUFFER_len(der);
  bssl::UniquePtr<X509> out(d2i_X509_AUX(nullptr, &at, static_cast<long>(CRYPTO_BUFFER_len(der))));
  if (!out || at != end) return nullptr;
  CBS rest;
  CRYPTO_BUFFER_init_CBS(der, &rest);
  CBS certificate;
  if (CBS_get_asn1(&rest, &certificate, CBS_ASN1_SEQUENCE) == 0) return nullptr;
  reject_unlisted(rest, out.get());
  return out;
}

std::string at_line(const std::string& path, const PemBlock& block) {
  return path + ": line " + std::to_string(block.line) + ": ";
}

/// Returns the error of a block that is not whole, or that is neither a certificate nor a key: no
/// block is skipped (T3).
Result<> check_block(const std::string& path, const PemBlock& block) {
  if (!block.fault.empty()) {
    return fail(Errc::config, at_line(path, block) + std::string(block.fault));
  }
  if (is_certificate(block.label) || is_key_or_parameters(block.label)) return {};
  return fail(Errc::config, at_line(path, block) + ascii::escape(block.label, 40) +
                                ": neither a certificate nor a key");
}

struct ReadCertificate {
  bssl::UniquePtr<CRYPTO_BUFFER> contents;  ///< as in the file
  bssl::UniquePtr<X509> parsed;
};

enum class Unparsable : std::uint8_t { refuse, leave_out };

/// Reads all certificates of a file, at least one.
Result<std::vector<ReadCertificate>> read_all(const std::string& path, Unparsable unparsable) {
  const auto text = read_file(path, Access::any);
  if (!text) return fail(text.error());
  std::vector<ReadCertificate> out;
  for (const PemBlock& block : find_pem_blocks(*text)) {
    if (const auto good = check_block(path, block); !good) {
      if (unparsable == Unparsable::leave_out) continue;
      return fail(good.error());
    }
    if (!is_certificate(block.label)) continue;
    ReadCertificate certificate{.contents = decode(block), .parsed = nullptr};
    if (certificate.contents) {
      certificate.parsed = parse(block.label, certificate.contents.get());
    }
    if (certificate.parsed) {
      out.push_back(std::move(certificate));
    } else if (unparsable == Unparsable::refuse) {
      return fail(Errc::config,
                  at_line(path, block) + "the certificate cannot be read: " + library_text());
    }
    ERR_clear_error();
  }
  if (out.empty()) return fail(Errc::config, path + ": holds no certificate");
  return out;
}

/// Returns the store that the environment names, or "". Does not read the environment if the file
/// system gives this program more rights than the user that starts it has.
std::string named_store() {
  const char* const path = ::secure_getenv(kStoreVariable);
  return path != nullptr ? path : "";
}

Result<std::unique_ptr<TrustStore>> read_store(const std::string& path, Unparsable unparsable) {
  auto certificates = read_all(path, unparsable);
  if (!certificates) return fail(certificates.error());
  auto store = std::make_unique<TrustStore>();
  for (auto& [der, certificate] : *certificates) {
    if (!store->add(der.get(), std::move(certificate))) {
      return fail(Errc::system, path + ": " + library_text());
    }
  }
  return store;
}

/// Returns the first private key of a file; every other block must be whole, too.
Result<bssl::UniquePtr<EVP_PKEY>> find_private_key(const std::string& path, std::string_view text) {
  constexpr std::string_view kNone = "holds no unencrypted private key";
  bssl::UniquePtr<EVP_PKEY> key;
  for (const PemBlock& block : find_pem_blocks(text)) {
    if (const auto good = check_block(path, block); !good) return fail(good.error());
    if (key || !block.label.ends_with("PRIVATE KEY")) continue;
    const auto bio = read_only(block.text);
    // No pass phrase: a daemon cannot ask for one.
    key.reset(PEM_read_bio_PrivateKey(bio.get(), nullptr, nullptr, nullptr));
    if (!key) {
      return fail(Errc::config, at_line(path, block) + std::string(kNone) + ": " + library_text());
    }
  }
  if (!key) return fail(Errc::config, path + ": " + std::string(kNone));
  return key;
}

}  // namespace

Result<std::vector<bssl::UniquePtr<CRYPTO_BUFFER>>> read_certificates(const std::string& path) {
  auto certificates = read_all(path, Unparsable::refuse);
  if (!certificates) return fail(certificates.error());
  std::vector<bssl::UniquePtr<CRYPTO_BUFFER>> out;
  for (auto& [der, certificate] : *certificates) {
    CBS rest;
    CBS alone;
    CRYPTO_BUFFER_init_CBS(der.get(), &rest);
    // Peers get the certificate without the part that follows it in a TRUSTED CERTIFICATE.
    if (CBS_get_asn1_element(&rest, &alone, CBS_ASN1_SEQUENCE) == 0) {
      return fail(Errc::config, path + ": a certificate cannot be read");
    }
    out.push_back(CBS_len(&rest) == 0 ? std::move(der)
                                      : bssl::UniquePtr<CRYPTO_BUFFER>(
                                            CRYPTO_BUFFER_new_from_CBS(&alone, buffer_pool())));
  }
  return out;
}

Result<bssl::UniquePtr<EVP_PKEY>> read_private_key(const std::string& path) {
  auto text = read_file(path, Access::owner_only);
  if (!text) return fail(text.error());
  const WipeAtEnd wiped(*text);
  return find_private_key(path, *text);
}

Result<std::string> read_secret(const std::string& path) {
  return read_file(path, Access::owner_only);
}

std::string system_trust_store() {
  if (auto named = named_store(); !named.empty()) return named;
  for (const char* path : kSystemStores) {
    if (::access(path, R_OK) == 0) return path;
  }
  return {};
}

Result<std::unique_ptr<TrustStore>> read_trust_store(const std::string& ca_file) {
  if (!ca_file.empty()) return read_store(ca_file, Unparsable::refuse);
  if (const auto path = system_trust_store(); !path.empty()) {
    auto store = read_store(path, Unparsable::leave_out);
    if (store || named_store().empty()) return store;
    return fail(Errc::config, store.error().reason + " (named by " + kStoreVariable + ")");
  }
  return fail(Errc::config, std::string(kSystemStores[0]) +
                                ": the system's trust store is missing; install ca-certificates or "
                                "name a CA file");
}

}  // namespace starttls::tls
