#pragma once

// Is this the server we want? Called from within the handshake; X.509 structures live only as long
// as the call, since a parsed chain costs more than all else that a session keeps.

#include <chrono>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "lib/base/error.h"
#include "lib/base/pin.h"
#include "lib/base/utc.h"
#include "lib/tls/boringssl.h"
#include "lib/tls/certificate_info.h"
#include "lib/tls/name_match.h"
#include "lib/tls/trust_store.h"

namespace starttls::tls {

/// Why a certificate is refused.
struct Rejection {
  Error error;  ///< Errc::certificate; evidence: subject, issuer, names, the library's reason
  std::uint8_t alert;  ///< SSL_AD_..., for the peer
};

/// What a server's certificate is held against.
struct ServerRule {
  std::string_view reference;   ///< the name that must be among the leaf's
  std::span<const Pin> pins{};  ///< where there are any, one must be met
};

/// Nothing wrong: how long until a certificate of the path ends.
using Verified = tl::expected<std::chrono::seconds, Rejection>;

/// Checks the chain as sent by the peer, leaf first: a path to one of `roots` (any certificate in
/// there is an anchor, a leaf or an intermediate too), valid now, fit for a TLS server, no RSA key
/// below 2048 bits nor SHA-1 signature on the way (RFC 9155), the wanted name among the leaf's
/// names, and a wanted pin on the path, whether of the leaf or of a CA. Of several certificates for
/// one issuer, in the store or sent by the peer, the order does not matter: one that works is
/// found.
[[nodiscard]] Verified verify_server(const TrustStore& roots, const STACK_OF(CRYPTO_BUFFER) * chain,
                                     const ServerRule& rule);

/// The pins alone decide: the leaf's key, since nothing ties what else was sent to it.
[[nodiscard]] std::optional<Rejection> verify_pin(const STACK_OF(CRYPTO_BUFFER) * chain,
                                                  std::span<const Pin> pins);

/// A client's chain, in the same way as a server's but for names. No chain at all is refused.
[[nodiscard]] Verified verify_client(const TrustStore& roots,
                                     const STACK_OF(CRYPTO_BUFFER) * chain);

/// Leaf first, as the peer sent them; what does not parse is left out.
[[nodiscard]] std::vector<CertificateInfo> describe_chain(const STACK_OF(CRYPTO_BUFFER) * chain);

/// 1970 if it does not parse.
[[nodiscard]] UnixTime time_of(const ASN1_TIME* time);

/// Escaped for logs.
[[nodiscard]] std::string issuer_text(const X509* certificate);

[[nodiscard]] PresentedNames presented_names(const X509* certificate);

/// The common name of the leaf's subject, UTF-8 and as it is; empty unless there is exactly one.
[[nodiscard]] std::string leaf_common_name(const STACK_OF(CRYPTO_BUFFER) * chain);

/// The leaf's subject, escaped for logs; empty where there is none that parses.
[[nodiscard]] std::string leaf_subject(const STACK_OF(CRYPTO_BUFFER) * chain);

}  // namespace starttls::tls
