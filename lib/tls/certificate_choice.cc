#include "lib/tls/certificate_choice.h"

#include <algorithm>
#include <string>

#include "lib/base/ascii.h"

namespace starttls::tls {
namespace {

/// TLS 1.2 and older tie the kind of certificate to the cipher suite. These are the suites that we
/// may choose.
constexpr std::uint16_t kEcdsaSuites[] = {
    0xc009, 0xc00a,          // ECDHE_ECDSA_WITH_AES_{128,256}_CBC_SHA (RFC 8422)
    0xc02b, 0xc02c, 0xcca9,  // AES_128_GCM, AES_256_GCM (RFC 5289), CHACHA20_POLY1305 (RFC 7905)
};

CBS extension(const SSL_CLIENT_HELLO& hello, std::uint16_t type) noexcept {
  CBS out;
  const std::uint8_t* data = nullptr;
  std::size_t size = 0;
  if (SSL_early_callback_ctx_extension_get(&hello, type, &data, &size) == 0) size = 0;
  CBS_init(&out, data, size);
  return out;
}

/// Reads the name from a list with one host_name (type 0), RFC 6066 §3.
std::string_view parse_server_name(CBS cbs) noexcept {
  CBS list;
  CBS name;
  std::uint8_t type = 0;
  if (CBS_get_u16_length_prefixed(&cbs, &list) == 0 || CBS_get_u8(&list, &type) == 0 || type != 0 ||
      CBS_get_u16_length_prefixed(&list, &name) == 0) {
    return {};
  }
  return {reinterpret_cast<const char*>(CBS_data(&name)), CBS_len(&name)};
}

/// Returns the highest version that the client offers. If the extension is present, it alone counts
/// (RFC 8446 §4.2.1).
std::uint16_t parse_max_version(CBS cbs, std::uint16_t legacy_version) noexcept {
  CBS list;
  if (CBS_get_u8_length_prefixed(&cbs, &list) == 0) return legacy_version;
  std::uint16_t highest = 0;
  std::uint16_t version = 0;
  while (CBS_get_u16(&list, &version) != 0) {
    const bool grease = (version & 0x0f0fU) == 0x0a0aU;  // RFC 8701
    if (!grease) highest = std::max(highest, version);
  }
  return highest;
}

bool has_ecdsa_suite(CBS suites) noexcept {
  std::uint16_t suite = 0;
  while (CBS_get_u16(&suites, &suite) != 0) {
    if (std::find(std::begin(kEcdsaSuites), std::end(kEcdsaSuites), suite) !=
        std::end(kEcdsaSuites)) {
      return true;
    }
  }
  return false;
}

bool has_name(const ServerCertificate& certificate, std::string_view wanted) {
  return std::any_of(certificate.names.dns.begin(), certificate.names.dns.end(),
                     [wanted](const std::string& name) {
                       return !name.starts_with('*') && dns_name_matches(name, wanted);
                     });
}

bool has_name_or_wildcard(const ServerCertificate& certificate, std::string_view wanted) {
  return std::any_of(certificate.names.dns.begin(), certificate.names.dns.end(),
                     [wanted](const std::string& name) { return dns_name_matches(name, wanted); });
}

/// Returns the best certificate that `belongs` accepts, or null if it accepts none.
template <typename Predicate>
const ServerCertificate* best_of(std::span<const ServerCertificate> certificates,
                                 const ClientOffer& offer, Predicate belongs) {
  const ServerCertificate* rsa = nullptr;
  const ServerCertificate* any = nullptr;
  for (const ServerCertificate& certificate : certificates) {
    if (!belongs(certificate)) continue;
    const bool is_ecdsa = certificate.ecdsa_scheme != 0;
    if (is_ecdsa && offer.accepts_ecdsa(certificate.ecdsa_scheme)) return &certificate;
    if (!is_ecdsa && rsa == nullptr) rsa = &certificate;
    if (any == nullptr) any = &certificate;
  }
  return rsa != nullptr ? rsa : any;
}

}  // namespace

ClientOffer::ClientOffer(const SSL_CLIENT_HELLO& hello) noexcept
    : server_name_(parse_server_name(extension(hello, TLSEXT_TYPE_server_name))),
      max_version_(
          parse_max_version(extension(hello, TLSEXT_TYPE_supported_versions), hello.version)) {
  CBS suites;
  CBS_init(&suites, hello.cipher_suites, hello.cipher_suites_len);
  ecdsa_suite_ = has_ecdsa_suite(suites);
  CBS schemes = extension(hello, TLSEXT_TYPE_signature_algorithms);
  if (CBS_get_u16_length_prefixed(&schemes, &signature_schemes_) == 0) signature_schemes_ = {};
}

bool ClientOffer::accepts_ecdsa(std::uint16_t scheme) const noexcept {
  const bool tls1_3 = max_version_ >= TLS1_3_VERSION;
  if (!tls1_3 && !ecdsa_suite_) return false;
  if (max_version_ < TLS1_2_VERSION) return true;  // SHA-1 is implied, the suite decides
  CBS schemes = signature_schemes_;
  std::uint16_t offered = 0;
  while (CBS_get_u16(&schemes, &offered) != 0) {
    // TLS 1.2 names hash and algorithm, TLS 1.3 the curve too (RFC 8446 §4.2.3).
    const bool any_curve = !tls1_3 && (offered & 0xffU) == 3 && (offered >> 8U) >= 4;
    if (offered == scheme || any_curve) return true;
  }
  return false;
}

const ServerCertificate& choose_certificate(std::span<const ServerCertificate> certificates,
                                            const ClientOffer& offer) {
  const std::string_view wanted = offer.server_name();
  if (const auto* exact = best_of(certificates, offer, [wanted](const ServerCertificate& c) {
        return has_name(c, wanted);
      })) {
    return *exact;
  }
  if (const auto* wildcard = best_of(certificates, offer, [wanted](const ServerCertificate& c) {
        return has_name_or_wildcard(c, wanted);
      })) {
    return *wildcard;
  }
  const ServerCertificate& first = certificates.front();
  return *best_of(certificates, offer,
                  [&first](const ServerCertificate& c) { return c.names == first.names; });
}

}  // namespace starttls::tls
