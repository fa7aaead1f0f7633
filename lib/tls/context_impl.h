#pragma once

// What a Context is made of; for lib/tls alone.

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "lib/tls/boringssl.h"
#include "lib/tls/certificate_choice.h"
#include "lib/tls/context.h"
#include "lib/tls/verify.h"

namespace starttls::tls {

enum class Role : std::uint8_t { client, server };

/// Equal certificates of many sessions (intermediates above all) are kept once in the process.
[[nodiscard]] CRYPTO_BUFFER_POOL* buffer_pool() noexcept;

/// What a handshake in the client role knows of its peer; lives from its start to its end and hangs
/// on the SSL as app data.
struct PeerCheck {
  std::string reference;               ///< the name wanted
  std::optional<Rejection> rejection;  ///< set where the certificate was refused
  std::string subject;                 ///< set where nothing was verified
};

struct Context::Impl {
  Role role = Role::client;
  Version min_version = Version::tls1_2;
  Verification verification = Verification::full;
  bssl::UniquePtr<X509_STORE> roots;            ///< client role with Verification::full
  std::vector<ServerCertificate> certificates;  ///< server role, not empty
  bssl::UniquePtr<SSL_CTX> ssl_ctx;

  static ssl_verify_result_t on_verify(SSL* ssl, std::uint8_t* out_alert) noexcept;
  static ssl_select_cert_result_t on_client_hello(const SSL_CLIENT_HELLO* hello) noexcept;
};

}  // namespace starttls::tls
