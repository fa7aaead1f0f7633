#pragma once

// Is this the server we want? Called from within the handshake; X.509 structures live only as long
// as the call, since a parsed chain costs more than all else that a session keeps.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "lib/base/error.h"
#include "lib/tls/boringssl.h"
#include "lib/tls/name_match.h"

namespace starttls::tls {

/// Why a certificate is refused.
struct Rejection {
  Error error;  ///< Errc::certificate; evidence: subject, issuer, names, the library's reason
  std::uint8_t alert;  ///< SSL_AD_..., for the peer
};

/// Checks the chain as sent by the peer, leaf first: a path to one of `roots` (any certificate in
/// there is an anchor, a leaf or an intermediate too), valid now, fit for a TLS server, no RSA key
/// below 2048 bits nor SHA-1 signature on the way (RFC 9155), and `reference` among the leaf's
/// names. Nothing is returned where all is well.
[[nodiscard]] std::optional<Rejection> verify_server(X509_STORE* roots,
                                                     const STACK_OF(CRYPTO_BUFFER) * chain,
                                                     std::string_view reference);

[[nodiscard]] PresentedNames presented_names(const X509* certificate);

/// The leaf's subject, escaped for logs; empty where there is none that parses.
[[nodiscard]] std::string leaf_subject(const STACK_OF(CRYPTO_BUFFER) * chain);

}  // namespace starttls::tls
