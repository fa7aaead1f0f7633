#pragma once

// Chooses which of a service's certificates a client gets: by the name it asks for (RFC 6066 §3),
// then by the kinds of keys that it can verify.

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "lib/tls/boringssl.h"
#include "lib/tls/context.h"
#include "lib/tls/fingerprint.h"
#include "lib/tls/name_match.h"

namespace starttls::tls {

struct ServerCertificate {
  std::vector<bssl::UniquePtr<CRYPTO_BUFFER>> chain;  ///< leaf first
  bssl::UniquePtr<EVP_PKEY> key;
  PresentedNames names;
  OwnCertificate own;
  std::uint16_t ecdsa_scheme = 0;  ///< SSL_SIGN_ECDSA_... of the key's curve; 0 = RSA
  /// Session id context: a session is resumed only under the same policy and the same names.
  Digest session_context{};
};

/// The parts of a ClientHello that decide about certificate and cipher suites. Bytes that do not
/// parse count as absent: the library refuses them later, with the right alert.
class ClientOffer {
 public:
  explicit ClientOffer(const SSL_CLIENT_HELLO& hello) noexcept;

  /// Returns the name that the client asks for, or "" if it sends none. Points into the
  /// ClientHello.
  [[nodiscard]] std::string_view server_name() const noexcept { return server_name_; }
  [[nodiscard]] bool tls1_2_or_newer() const noexcept { return max_version_ >= TLS1_2_VERSION; }
  /// True if the client can use a key of this kind (`ServerCertificate::ecdsa_scheme`).
  [[nodiscard]] bool accepts_ecdsa(std::uint16_t scheme) const noexcept;

 private:
  std::string_view server_name_;
  std::uint16_t max_version_ = 0;
  bool ecdsa_suite_ = false;
  CBS signature_schemes_ = {};  ///< empty: the client sent none
};

/// Chooses the certificate for a client. Exact names come before wildcards. Among the certificates
/// of that name it takes ECDSA (seven times cheaper for us) if the client accepts it, else RSA. A
/// client that asks for an unknown name, or for none, gets the first certificate. It may also get
/// the one of the other kind with the same names. `certificates` is not empty.
[[nodiscard]] const ServerCertificate& choose_certificate(
    std::span<const ServerCertificate> certificates, const ClientOffer& offer);

}  // namespace starttls::tls
