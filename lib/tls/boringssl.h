#pragma once

// The only file that includes the TLS library's headers. The system's OpenSSL has the same file and
// symbol names and must not get in by a wrong include path.
//
// The library is a BoringSSL of any year since 2021, or AWS-LC, which comes from it. The functions
// at the end hide the differences. They are found by feature tests, not by version numbers.

#include <openssl/base.h>
#if !defined(OPENSSL_IS_BORINGSSL) && !defined(OPENSSL_IS_AWSLC)
#error "these are the headers of neither BoringSSL nor AWS-LC: set TLS_ROOT"
#endif

#include <openssl/aead.h>
#include <openssl/bio.h>
#include <openssl/bytestring.h>
#include <openssl/cipher.h>
#include <openssl/ec.h>
#include <openssl/ec_key.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/hkdf.h>
#include <openssl/hmac.h>
#include <openssl/mem.h>
#include <openssl/nid.h>
#include <openssl/obj.h>
#include <openssl/pem.h>
#include <openssl/pool.h>
#include <openssl/rand.h>
#include <openssl/sha.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include "lib/base/tls_group.h"
#include "lib/base/tls_settings.h"
#include "lib/tls/role.h"

namespace starttls::tls {

/// Sets the groups of a context, the best first.
[[nodiscard]] bool set_groups(SSL_CTX* ctx, Role role, PostQuantum post_quantum);
/// Sends no key share of the post-quantum group in the ClientHello. The group is still offered, and
/// a server that wants it asks for the key share (HelloRetryRequest). Only with
/// PostQuantumSupport::full.
[[nodiscard]] bool withhold_key_share(SSL* ssl);
/// Returns the group of a connection, after its handshake. If a session of TLS 1.2 was resumed,
/// that is the group of its first handshake.
[[nodiscard]] TlsGroup group_of(const SSL* ssl) noexcept;
/// Makes a verification end at one of `anchors`, instead of at a certificate of its store. They
/// must live as long as the verification.
void set_anchors(X509_STORE_CTX* ctx, STACK_OF(X509) * anchors) noexcept;
/// Makes the settings that one library has by default and another one lacks.
void set_library_modes(SSL_CTX* ctx) noexcept;

}  // namespace starttls::tls
