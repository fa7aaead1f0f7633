#include "lib/tls/library.h"

#include <cstddef>
#include <cstdint>
#include <string>

#include "lib/tls/boringssl.h"

namespace starttls::tls {
namespace {

// A function that a library may lack is called in a template. There its name is looked up only when
// the template is used, so that the concept is a feature test.

template <class Ssl>
concept SetsKeyShares = requires(Ssl* ssl, const std::uint16_t* groups) {
  SSL_set1_client_key_shares(ssl, groups, std::size_t{1});
};

template <class Ssl>
bool set_key_shares(Ssl* ssl, const std::uint16_t* groups, std::size_t count) {
  if constexpr (SetsKeyShares<Ssl>) {
    return SSL_set1_client_key_shares(ssl, groups, count) == 1;
  } else {
    return false;
  }
}

/// True for newer libraries. In older ones the function is X509_STORE_CTX_trusted_stack.
template <class Context>
concept SetsTrustedStack = requires(Context* ctx, STACK_OF(X509) * anchors) {
  X509_STORE_CTX_set0_trusted_stack(ctx, anchors);
};

template <class Context>
void set_trusted_stack(Context* ctx, STACK_OF(X509) * anchors) noexcept {
  if constexpr (SetsTrustedStack<Context>) {
    X509_STORE_CTX_set0_trusted_stack(ctx, anchors);
  } else {
    X509_STORE_CTX_trusted_stack(ctx, anchors);
  }
}

// The numbers of the groups (IANA, "TLS Supported Groups"). Older libraries have no names for them.
constexpr std::uint16_t kP256 = 23;
constexpr std::uint16_t kP384 = 24;
constexpr std::uint16_t kP521 = 25;
constexpr std::uint16_t kX25519 = 29;
constexpr std::uint16_t kX25519MlKem768 = 4588;

}  // namespace

std::string library_version() {
#if defined(OPENSSL_IS_AWSLC) && defined(AWSLC_VERSION_NUMBER_STRING)
  return "AWS-LC " AWSLC_VERSION_NUMBER_STRING;
#elif defined(OPENSSL_IS_AWSLC)
  return "AWS-LC";
#elif defined(BORINGSSL_API_VERSION)
  return "BoringSSL (API " + std::to_string(BORINGSSL_API_VERSION) + ")";
#else
  return "BoringSSL";
#endif
}

PostQuantumSupport post_quantum_support() noexcept {
#ifdef SSL_GROUP_X25519_MLKEM768
  static_assert(SSL_GROUP_X25519_MLKEM768 == kX25519MlKem768);
  return SetsKeyShares<SSL> ? PostQuantumSupport::full : PostQuantumSupport::with_key_share;
#else
  return PostQuantumSupport::none;
#endif
}

/// Sets the groups. P-256 and P-384 stay in the list: without them no certificate on these curves
/// works in TLS 1.2. P-521 is in a client's list for the same reason, and last, because it is slow.
/// All libraries take the names. The functions that take numbers differ.
bool set_groups(SSL_CTX* ctx, Role role, PostQuantum post_quantum) {
  const bool offered =
      post_quantum_support() != PostQuantumSupport::none && post_quantum != PostQuantum::off;
  std::string groups = offered ? "X25519MLKEM768:" : "";
  groups += "X25519:P-256:P-384";
  if (role == Role::client) groups += ":P-521";
  return SSL_CTX_set1_curves_list(ctx, groups.c_str()) == 1;
}

bool withhold_key_share(SSL* ssl) {
  return set_key_shares(ssl, &kX25519, 1);
}

TlsGroup group_of(const SSL* ssl) noexcept {
  switch (SSL_get_curve_id(ssl)) {
    case kX25519MlKem768:
      return TlsGroup::x25519_mlkem768;
    case kX25519:
      return TlsGroup::x25519;
    case kP256:
      return TlsGroup::p256;
    case kP384:
      return TlsGroup::p384;
    case kP521:
      return TlsGroup::p521;
    default:  // a number of the library's
      return TlsGroup::other;
  }
}

void set_anchors(X509_STORE_CTX* ctx, STACK_OF(X509) * anchors) noexcept {
  set_trusted_stack(ctx, anchors);
}

void set_library_modes(SSL_CTX* ctx) noexcept {
#ifdef SSL_MODE_CBC_RECORD_SPLITTING
  SSL_CTX_set_mode(ctx, SSL_MODE_CBC_RECORD_SPLITTING);  // TLS 1.0 only: BEAST
#else
  static_cast<void>(ctx);
#endif
}

}  // namespace starttls::tls
