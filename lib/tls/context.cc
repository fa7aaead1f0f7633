#include "lib/tls/context.h"

#include <utility>

#include "lib/tls/context_impl.h"
#include "lib/tls/engine.h"
#include "lib/tls/pem.h"

namespace starttls::tls {
namespace {

/// ECDHE with AEAD (RFC 9325 §4.2). In brackets the client's order counts: it knows whether it has
/// AES in hardware.
constexpr char kCiphers[] =
    "[ECDHE-ECDSA-AES128-GCM-SHA256|ECDHE-ECDSA-CHACHA20-POLY1305]:ECDHE-ECDSA-AES256-GCM-SHA384:"
    "[ECDHE-RSA-AES128-GCM-SHA256|ECDHE-RSA-CHACHA20-POLY1305]:ECDHE-RSA-AES256-GCM-SHA384";
/// For a client that cannot do TLS 1.2, on a service that lets it: TLS 1.0 and 1.1 know no AEAD.
constexpr char kLegacyCiphers[] =
    "ECDHE-ECDSA-AES128-SHA:ECDHE-RSA-AES128-SHA:ECDHE-ECDSA-AES256-SHA:ECDHE-RSA-AES256-SHA:"
    "AES128-SHA:AES256-SHA";

/// Octets of a server's chain: the flight that carries it fits into `kHandshakeRoom` with all its
/// frames.
constexpr std::size_t kMaxChain = kHandshakeRoom / 2;

/// What a server may sign its handshake with: no SHA-1 (RFC 9155).
constexpr std::uint16_t kVerifySchemes[] = {
    SSL_SIGN_ECDSA_SECP256R1_SHA256, SSL_SIGN_RSA_PSS_RSAE_SHA256, SSL_SIGN_RSA_PKCS1_SHA256,
    SSL_SIGN_ECDSA_SECP384R1_SHA384, SSL_SIGN_RSA_PSS_RSAE_SHA384, SSL_SIGN_RSA_PKCS1_SHA384,
    SSL_SIGN_RSA_PSS_RSAE_SHA512,    SSL_SIGN_RSA_PKCS1_SHA512};

std::uint16_t wire_version(Version version) noexcept {
  switch (version) {
    case Version::tls1_0:
      return TLS1_VERSION;
    case Version::tls1_1:
      return TLS1_1_VERSION;
    case Version::tls1_2:
      return TLS1_2_VERSION;
    case Version::tls1_3:
      return TLS1_3_VERSION;
  }
  return TLS1_3_VERSION;
}

/// P-256 and P-384 stay in the list: without them no certificate on these curves works in TLS 1.2.
bool set_groups(SSL_CTX* ctx) {
#ifdef SSL_GROUP_X25519_MLKEM768
  constexpr std::uint16_t kGroups[] = {SSL_GROUP_X25519_MLKEM768, SSL_GROUP_X25519,
                                       SSL_GROUP_SECP256R1, SSL_GROUP_SECP384R1};
  return SSL_CTX_set1_group_ids(ctx, kGroups, std::size(kGroups)) == 1;
#else
  return SSL_CTX_set1_curves_list(ctx, "X25519:P-256:P-384") == 1;
#endif
}

/// What both roles have in common. The library's defaults that we rely on: no renegotiation, no
/// early data; 32 empty records, 32 KeyUpdates or 4 warning alerts in a row end the connection.
bssl::UniquePtr<SSL_CTX> new_ssl_ctx(Version min_version) {
  bssl::UniquePtr<SSL_CTX> ctx(SSL_CTX_new(TLS_with_buffers_method()));
  if (!ctx || SSL_CTX_set_min_proto_version(ctx.get(), wire_version(min_version)) != 1 ||
      SSL_CTX_set_max_proto_version(ctx.get(), TLS1_3_VERSION) != 1 ||
      SSL_CTX_set_strict_cipher_list(ctx.get(), kCiphers) != 1 || !set_groups(ctx.get())) {
    return nullptr;
  }
  SSL_CTX_set0_buffer_pool(ctx.get(), buffer_pool());
  // TODO(resumption): a cache keyed by everything that makes up the policy, and ticket keys of our
  // own, take the place of these two lines.
  SSL_CTX_set_session_cache_mode(ctx.get(), SSL_SESS_CACHE_OFF);
  SSL_CTX_set_options(ctx.get(), SSL_OP_NO_TICKET);
#ifdef SSL_MODE_CBC_RECORD_SPLITTING
  SSL_CTX_set_mode(ctx.get(), SSL_MODE_CBC_RECORD_SPLITTING);  // TLS 1.0 only: BEAST
#endif
  return ctx;
}

tl::unexpected<Error> library_failure() {
  const std::uint32_t code = ERR_peek_error();
  ERR_clear_error();
  char text[160] = {};
  ERR_error_string_n(code, text, sizeof(text));
  return fail(Errc::system, "the TLS library cannot be set up", text);
}

/// SSL_SIGN_ECDSA_... of a key's curve, 0 for RSA, nothing for what no client of ours would take.
std::optional<std::uint16_t> ecdsa_scheme(const EVP_PKEY* key) {
  if (EVP_PKEY_id(key) == EVP_PKEY_RSA) return 0;
  if (EVP_PKEY_id(key) != EVP_PKEY_EC) return std::nullopt;
  switch (EC_GROUP_get_curve_name(EC_KEY_get0_group(EVP_PKEY_get0_EC_KEY(key)))) {
    case NID_X9_62_prime256v1:
      return SSL_SIGN_ECDSA_SECP256R1_SHA256;
    case NID_secp384r1:
      return SSL_SIGN_ECDSA_SECP384R1_SHA384;
    case NID_secp521r1:
      return SSL_SIGN_ECDSA_SECP521R1_SHA512;
    default:  // an int of the library's
      return std::nullopt;
  }
}

Result<ServerCertificate> read_server_certificate(const ChainAndKey& files) {
  ServerCertificate out;
  auto chain = read_certificates(files.chain);
  if (!chain) return fail(chain.error());
  out.chain = std::move(*chain);
  std::size_t octets = 0;
  for (const auto& buffer : out.chain) octets += CRYPTO_BUFFER_len(buffer.get());
  if (octets > kMaxChain) {
    return fail(Errc::config, files.chain + ": the chain is too large for a handshake");
  }
  auto key = read_private_key(files.key);
  if (!key) return fail(key.error());
  out.key = std::move(*key);

  const bssl::UniquePtr<X509> leaf(X509_parse_from_buffer(out.chain.front().get()));
  if (!leaf || X509_check_private_key(leaf.get(), out.key.get()) != 1) {
    ERR_clear_error();
    return fail(Errc::config,
                files.key + ": the key does not belong to the first certificate of " + files.chain);
  }
  const auto scheme = ecdsa_scheme(out.key.get());
  if (!scheme) return fail(Errc::config, files.key + ": neither an RSA nor an ECDSA key");
  out.ecdsa_scheme = *scheme;
  out.names = presented_names(leaf.get());
  return out;
}

}  // namespace

CRYPTO_BUFFER_POOL* buffer_pool() noexcept {
  // Never freed: sessions and contexts of any age point into it.
  static CRYPTO_BUFFER_POOL* const pool = CRYPTO_BUFFER_POOL_new();
  return pool;
}

/// Fails closed: an SSL without a PeerCheck was not made by an Engine.
ssl_verify_result_t Context::Impl::on_verify(SSL* ssl, std::uint8_t* out_alert) noexcept {
  const auto* self = static_cast<const Impl*>(SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl)));
  auto* check = static_cast<PeerCheck*>(SSL_get_app_data(ssl));
  if (self == nullptr || check == nullptr) {
    *out_alert = SSL_AD_INTERNAL_ERROR;
    return ssl_verify_invalid;
  }
  const STACK_OF(CRYPTO_BUFFER)* chain = SSL_get0_peer_certificates(ssl);
  switch (self->verification) {
    case Verification::none:
      check->subject = leaf_subject(chain);
      return ssl_verify_ok;
    case Verification::full:
      break;
  }
  check->rejection = verify_server(self->roots.get(), chain, check->reference);
  if (!check->rejection) return ssl_verify_ok;
  *out_alert = check->rejection->alert;
  return ssl_verify_invalid;
}

ssl_select_cert_result_t Context::Impl::on_client_hello(const SSL_CLIENT_HELLO* hello) noexcept {
  const auto* self = static_cast<const Impl*>(SSL_CTX_get_app_data(SSL_get_SSL_CTX(hello->ssl)));
  const ClientOffer offer(*hello);
  const ServerCertificate& certificate = choose_certificate(self->certificates, offer);
  std::vector<CRYPTO_BUFFER*> chain;
  for (const auto& buffer : certificate.chain) chain.push_back(buffer.get());
  if (SSL_set_chain_and_key(hello->ssl, chain.data(), chain.size(), certificate.key.get(),
                            nullptr) != 1) {
    return ssl_select_cert_error;
  }
  // CBC for those alone who can do no better: with TLS 1.2 it stays out.
  const bool legacy = self->min_version < Version::tls1_2 && !offer.tls1_2_or_newer();
  if (legacy && SSL_set_strict_cipher_list(hello->ssl, kLegacyCiphers) != 1) {
    return ssl_select_cert_error;
  }
  return ssl_select_cert_success;
}

Result<std::shared_ptr<const Context>> Context::client(const ClientOptions& options) {
  if (options.min_version < Version::tls1_2) {
    return fail(Errc::config, "TLS below 1.2 is not spoken to servers");
  }
  auto impl = std::make_unique<Impl>();
  impl->role = Role::client;
  impl->min_version = options.min_version;
  impl->verification = options.verification;
  switch (options.verification) {
    case Verification::none:
      break;
    case Verification::full: {
      auto roots = read_trust_store(options.ca_file);
      if (!roots) return fail(roots.error());
      impl->roots = std::move(*roots);
      break;
    }
  }
  impl->ssl_ctx = new_ssl_ctx(options.min_version);
  SSL_CTX* ctx = impl->ssl_ctx.get();
  if (ctx == nullptr ||
      SSL_CTX_set_verify_algorithm_prefs(ctx, kVerifySchemes, std::size(kVerifySchemes)) != 1 ||
      SSL_CTX_set_app_data(ctx, impl.get()) != 1) {
    return library_failure();
  }
  SSL_CTX_set_custom_verify(ctx, SSL_VERIFY_PEER, &Impl::on_verify);
  return std::shared_ptr<const Context>(new Context(std::move(impl)));
}

Result<std::shared_ptr<const Context>> Context::server(const ServerOptions& options) {
  if (options.certificates.empty()) {
    return fail(Errc::config, "TLS towards clients needs a certificate");
  }
  auto impl = std::make_unique<Impl>();
  impl->role = Role::server;
  impl->min_version = options.min_version;
  for (const ChainAndKey& files : options.certificates) {
    auto certificate = read_server_certificate(files);
    if (!certificate) return fail(certificate.error());
    impl->certificates.push_back(std::move(*certificate));
  }
  impl->ssl_ctx = new_ssl_ctx(options.min_version);
  SSL_CTX* ctx = impl->ssl_ctx.get();
  if (ctx == nullptr || SSL_CTX_set_app_data(ctx, impl.get()) != 1) return library_failure();
  SSL_CTX_set_select_certificate_cb(ctx, &Impl::on_client_hello);
  return std::shared_ptr<const Context>(new Context(std::move(impl)));
}

Context::Context(std::unique_ptr<Impl> impl) noexcept : impl_(std::move(impl)) {}
Context::~Context() = default;

std::string library_version() {
#ifdef BORINGSSL_API_VERSION
  return "BoringSSL (API " + std::to_string(BORINGSSL_API_VERSION) + ")";
#else
  return "BoringSSL";
#endif
}

}  // namespace starttls::tls
