#pragma once

// Checks that a peer is the one we want. Called from within the handshake. X.509 structures live
// only as long as the call, since a parsed chain costs more than all else that a session keeps.

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

/// The reason for which a certificate is refused.
struct Rejection {
  Error error;  ///< Errc::certificate; evidence: subject, issuer, names, the library's reason
  std::uint8_t alert;  ///< SSL_AD_..., for the peer
};

/// The rule that a server's certificate must meet.
struct ServerRule {
  std::string_view reference;   ///< the name that must be among the leaf's
  std::span<const Pin> pins{};  ///< if not empty, one must be met
};

/// On success: the time until the first certificate of the path ends.
using Verified = tl::expected<std::chrono::seconds, Rejection>;

/// Checks the chain as sent by the peer, leaf first. It needs a path to one of `roots` (any
/// certificate in there is an anchor, a leaf or an intermediate too). The path must be valid now,
/// fit for a TLS server, and have no RSA key below 2048 bits nor SHA-1 signature (RFC 9155). The
/// wanted name must be among the leaf's names, and a wanted pin on the path, either of the leaf or
/// of a CA. If an issuer has several certificates, in the store or sent by the peer, their order
/// does not matter: one that works is found.
[[nodiscard]] Verified verify_server(const TrustStore& roots, const STACK_OF(CRYPTO_BUFFER) * chain,
                                     const ServerRule& rule);

/// Checks nothing but the pins. Only the leaf's key counts, since nothing ties the other
/// certificates that were sent to it.
[[nodiscard]] std::optional<Rejection> verify_pin(const STACK_OF(CRYPTO_BUFFER) * chain,
                                                  std::span<const Pin> pins);

/// Checks a client's chain in the same way as a server's, except for names. A missing chain is
/// refused.
[[nodiscard]] Verified verify_client(const TrustStore& roots,
                                     const STACK_OF(CRYPTO_BUFFER) * chain);

/// Describes the certificates as the peer sent them, leaf first; those that do not parse are left
/// out.
[[nodiscard]] std::vector<CertificateInfo> describe_chain(const STACK_OF(CRYPTO_BUFFER) * chain);

/// Returns the moment, or 1970 if the time does not parse.
[[nodiscard]] UnixTime time_of(const ASN1_TIME* time);

/// Returns the last second in which the leaf is valid; nothing if it cannot be read.
[[nodiscard]] std::optional<UnixTime> leaf_end(const STACK_OF(CRYPTO_BUFFER) * chain);

/// Returns the subject, escaped for logs.
[[nodiscard]] std::string subject_text(const X509* certificate);

/// Returns the issuer, escaped for logs.
[[nodiscard]] std::string issuer_text(const X509* certificate);

[[nodiscard]] PresentedNames presented_names(const X509* certificate);

/// Returns the common name of the leaf's subject, UTF-8 and unchanged; empty unless there is
/// exactly one.
[[nodiscard]] std::string leaf_common_name(const STACK_OF(CRYPTO_BUFFER) * chain);

/// Returns the leaf's subject, escaped for logs; empty if none parses.
[[nodiscard]] std::string leaf_subject(const STACK_OF(CRYPTO_BUFFER) * chain);

/// Returns the leaf's subject as in RFC 4514, at most 256 bytes of UTF-8; empty if none parses. It
/// is not escaped, unlike the one above.
[[nodiscard]] std::string leaf_subject_utf8(const STACK_OF(CRYPTO_BUFFER) * chain);

}  // namespace starttls::tls
