#pragma once

// The parts of a Context; for lib/tls alone.

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "lib/tls/boringssl.h"
#include "lib/tls/certificate_choice.h"
#include "lib/tls/client_facts.h"
#include "lib/tls/context.h"
#include "lib/tls/fingerprint.h"
#include "lib/tls/role.h"
#include "lib/tls/session_cache.h"
#include "lib/tls/silent_servers.h"
#include "lib/tls/ticket_keys.h"
#include "lib/tls/trust_store.h"
#include "lib/tls/verified_chains.h"
#include "lib/tls/verify.h"

namespace starttls::tls {

/// Returns the pool that keeps equal certificates of many sessions (above all intermediates) once
/// per process.
[[nodiscard]] CRYPTO_BUFFER_POOL* buffer_pool() noexcept;

/// Data of one connection for the library's callbacks. The SSL holds it as app data for its whole
/// life.
struct PeerLink {
  // Client role.
  std::string reference;               ///< the name wanted
  std::string cache_key;               ///< of the server in the session cache; empty: no resumption
  std::optional<Rejection> rejection;  ///< set if the certificate was refused
  std::string subject;                 ///< set if nothing was verified
  bool describe = false;               ///< fill in `chain`
  std::vector<CertificateInfo> chain;
};

struct Context::Impl {
  Role role = Role::client;
  TlsVersion min_version = TlsVersion::tls1_2;
  RecordCodecChoice record_codec = RecordCodecChoice::automatic;
  RecordCipher record_cipher = RecordCipher::library;
  /// Client role: a post-quantum key share makes ClientHellos large, and can be left out.
  bool may_withhold_key_share = false;
  Verification verification = Verification::full;
  std::vector<Pin> pins;
  std::unique_ptr<TrustStore> roots;            ///< client role with Verification::full; client_ca
  std::vector<ServerCertificate> certificates;  ///< server role, not empty
  std::vector<OwnCertificate> own;              ///< both roles
  std::shared_ptr<TicketKeys> ticket_keys;      ///< server role
  std::string alpn;                             ///< ids as on the wire, each with its length
  Digest policy{};
  bssl::UniquePtr<SSL_CTX> ssl_ctx;
  mutable SessionCache sessions;  ///< client role
  mutable SilentServers silent;   ///< client role
  mutable VerifiedChains verified;
  mutable ClientFactsStore clients;  ///< server role

  /// Client role: returns why the server that shows this chain is not the one wanted.
  [[nodiscard]] std::optional<Rejection> check_server(const STACK_OF(CRYPTO_BUFFER) * chain,
                                                      std::string_view reference) const;
  /// Server role with client_ca: returns why the client is refused. Called after every handshake,
  /// resumed or not.
  [[nodiscard]] std::optional<Rejection> check_client(const SSL* ssl) const;

  [[nodiscard]] static const Impl& of(const SSL* ssl) noexcept;
  static ssl_verify_result_t on_verify(SSL* ssl, std::uint8_t* out_alert) noexcept;
  static ssl_verify_result_t on_verify_client(SSL* ssl, std::uint8_t* out_alert) noexcept;
  static ssl_select_cert_result_t on_client_hello(const SSL_CLIENT_HELLO* hello) noexcept;
  static int on_new_session(SSL* ssl, SSL_SESSION* session) noexcept;
  static int on_ticket(SSL* ssl, std::uint8_t* key_name, std::uint8_t* iv, EVP_CIPHER_CTX* cipher,
                       HMAC_CTX* hmac, int encrypt) noexcept;
  static int on_alpn(SSL* ssl, const std::uint8_t** out, std::uint8_t* out_size,
                     const std::uint8_t* in, unsigned in_size, void* arg) noexcept;
};

}  // namespace starttls::tls
