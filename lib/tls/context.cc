#include "lib/tls/context.h"

#include <algorithm>
#include <chrono>
#include <set>
#include <span>
#include <string_view>
#include <utility>

#include "lib/tls/context_impl.h"
#include "lib/tls/engine.h"
#include "lib/tls/library.h"
#include "lib/tls/pem.h"

namespace starttls::tls {
namespace {

/// ECDHE with AEAD (RFC 9325 §4.2). Within brackets the client's order counts, because the client
/// knows if it has AES in hardware.
constexpr char kCiphers[] =
    "[ECDHE-ECDSA-AES128-GCM-SHA256|ECDHE-ECDSA-CHACHA20-POLY1305]:ECDHE-ECDSA-AES256-GCM-SHA384:"
    "[ECDHE-RSA-AES128-GCM-SHA256|ECDHE-RSA-CHACHA20-POLY1305]:ECDHE-RSA-AES256-GCM-SHA384";
/// For a client that cannot do TLS 1.2, on a service that allows older versions. TLS 1.0 and 1.1
/// know no AEAD. No RSA key transport: it has no forward secrecy, and its padding has been an
/// oracle again and again.
constexpr char kLegacyCiphers[] =
    "ECDHE-ECDSA-AES128-SHA:ECDHE-RSA-AES128-SHA:ECDHE-ECDSA-AES256-SHA:ECDHE-RSA-AES256-SHA";

/// Maximum bytes of a server's chain. With this limit, the flight that carries the chain fits into
/// `kHandshakeRoom` with all its frames.
constexpr std::size_t kMaxChain = kHandshakeRoom / 2;

/// Maximum bytes of a client's chain. The ticket of a session carries the chain, and the flight
/// with the ticket must fit too.
constexpr std::size_t kMaxClientChain = kHandshakeRoom / 4;

/// Maximum bytes of the names of CAs from which clients may have a certificate. A
/// CertificateRequest holds 64 KiB of them, but it shares its flight with the chain. A longer list
/// is left out: then a client shows the certificate that it has.
constexpr std::size_t kMaxCaNames = kHandshakeRoom / 4;

/// The signature algorithms that a peer may use in its handshake, by the kinds of keys that are
/// accepted. SHA-1 is missing (RFC 9155), although the library's own list has it. TLS 1.0 and 1.1
/// have no such choice.
constexpr std::uint16_t kVerifySchemes[] = {SSL_SIGN_ECDSA_SECP256R1_SHA256,
                                            SSL_SIGN_RSA_PSS_RSAE_SHA256,
                                            SSL_SIGN_RSA_PKCS1_SHA256,
                                            SSL_SIGN_ECDSA_SECP384R1_SHA384,
                                            SSL_SIGN_RSA_PSS_RSAE_SHA384,
                                            SSL_SIGN_RSA_PKCS1_SHA384,
                                            SSL_SIGN_ED25519,
                                            SSL_SIGN_ECDSA_SECP521R1_SHA512,
                                            SSL_SIGN_RSA_PSS_RSAE_SHA512,
                                            SSL_SIGN_RSA_PKCS1_SHA512};

std::uint16_t wire_version(TlsVersion version) noexcept {
  switch (version) {
    case TlsVersion::tls1_0:
      return TLS1_VERSION;
    case TlsVersion::tls1_1:
      return TLS1_1_VERSION;
    case TlsVersion::tls1_2:
      return TLS1_2_VERSION;
    case TlsVersion::tls1_3:
      return TLS1_3_VERSION;
  }
  return TLS1_3_VERSION;
}

/// Lets no peer sign its handshake with SHA-1 (S11).
bool set_signatures(SSL_CTX* ctx) {
  return SSL_CTX_set_verify_algorithm_prefs(ctx, kVerifySchemes, std::size(kVerifySchemes)) == 1;
}

/// Makes the settings that both roles share. We rely on these defaults of the library: no
/// renegotiation and no early data. Also, 32 empty records or 4 warning alerts in a row end the
/// connection.
bssl::UniquePtr<SSL_CTX> new_ssl_ctx(Role role, TlsVersion min_version, PostQuantum post_quantum) {
  bssl::UniquePtr<SSL_CTX> ctx(SSL_CTX_new(TLS_with_buffers_method()));
  if (!ctx || SSL_CTX_set_min_proto_version(ctx.get(), wire_version(min_version)) != 1 ||
      SSL_CTX_set_max_proto_version(ctx.get(), TLS1_3_VERSION) != 1 ||
      SSL_CTX_set_strict_cipher_list(ctx.get(), kCiphers) != 1 ||
      !set_groups(ctx.get(), role, post_quantum) || !set_signatures(ctx.get())) {
    return nullptr;
  }
  SSL_CTX_set0_buffer_pool(ctx.get(), buffer_pool());
  constexpr auto kLifetime =
      static_cast<std::uint32_t>(std::chrono::seconds{kTicketLifetime}.count());
  SSL_CTX_set_timeout(ctx.get(), kLifetime);
  SSL_CTX_set_session_psk_dhe_timeout(ctx.get(), kLifetime);
  set_library_modes(ctx.get());
  return ctx;
}

tl::unexpected<Error> library_failure() {
  const std::uint32_t code = ERR_peek_error();
  ERR_clear_error();
  char text[160] = {};
  ERR_error_string_n(code, text, sizeof(text));
  return fail(Errc::system, "the TLS library cannot be set up", text);
}

/// Returns SSL_SIGN_ECDSA_... of a key's curve, 0 for RSA, nothing for a key that no client of ours
/// would accept.
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

Result<std::vector<bssl::UniquePtr<CRYPTO_BUFFER>>> read_chain(const std::string& file) {
  auto chain = read_certificates(file);
  if (!chain) return chain;
  std::size_t bytes = 0;
  for (const auto& buffer : *chain) bytes += CRYPTO_BUFFER_len(buffer.get());
  if (bytes > kMaxChain) {
    return fail(Errc::config, file + ": the chain is too large for a handshake");
  }
  return chain;
}

Digest digest_of(const std::vector<bssl::UniquePtr<CRYPTO_BUFFER>>& chain) noexcept {
  Fingerprint all;
  for (const auto& buffer : chain) all.add(buffer.get());
  return all.finish();
}

unsigned rsa_bits(const EVP_PKEY* key) {
  return EVP_PKEY_id(key) == EVP_PKEY_RSA ? static_cast<unsigned>(EVP_PKEY_bits(key)) : 0;
}

/// True for a root. Peers use their own copy of it, if they trust it at all.
bool is_self_issued(const X509* certificate) {
  return X509_NAME_cmp(X509_get_subject_name(certificate), X509_get_issuer_name(certificate)) == 0;
}

/// Narrows the limits of `own` to those of the certificate that has issued it.
void narrow(OwnCertificate& own, X509* certificate) {
  const UnixTime begin = time_of(X509_get0_notBefore(certificate));
  const UnixTime end = time_of(X509_get0_notAfter(certificate));
  const bssl::UniquePtr<EVP_PKEY> key(X509_get_pubkey(certificate));
  const unsigned bits = key ? rsa_bits(key.get()) : 0;
  if (begin > own.not_before) {
    own.not_before = begin;
    own.latest_begin_of = subject_text(certificate);
  }
  if (end < own.not_after) {
    own.not_after = end;
    own.earliest_end_of = subject_text(certificate);
  }
  if (bits != 0 && (own.rsa_bits == 0 || bits < own.rsa_bits)) {
    own.rsa_bits = bits;
    own.weakest_key_of = subject_text(certificate);
  }
}

Result<ServerCertificate> read_certificate_and_key(const ChainAndKey& files) {
  ServerCertificate out;
  auto chain = read_chain(files.chain);
  if (!chain) return fail(chain.error());
  out.chain = std::move(*chain);
  auto key = read_private_key(files.key);
  if (!key) return fail(key.error());
  out.key = std::move(*key);

  const bssl::UniquePtr<X509> leaf(X509_parse_from_buffer(out.chain.front().get()));
  if (!leaf || X509_check_private_key(leaf.get(), out.key.get()) != 1) {
    ERR_clear_error();
    return fail(Errc::config, files.key + std::string(kOtherKey) + files.chain);
  }
  const auto scheme = ecdsa_scheme(out.key.get());
  if (!scheme) return fail(Errc::config, files.key + ": neither an RSA nor an ECDSA key");
  out.ecdsa_scheme = *scheme;
  out.names = presented_names(leaf.get());
  out.own = {.chain = files.chain,
             .not_before = time_of(X509_get0_notBefore(leaf.get())),
             .not_after = time_of(X509_get0_notAfter(leaf.get())),
             .names = describe(out.names),
             .issuer = issuer_text(leaf.get()),
             .rsa_bits = rsa_bits(out.key.get()),
             .chain_digest = digest_of(out.chain)};
  if (out.chain.size() > 1) {
    const bssl::UniquePtr<X509> issuer(X509_parse_from_buffer(out.chain[1].get()));
    if (issuer && !is_self_issued(issuer.get())) narrow(out.own, issuer.get());
  }
  ERR_clear_error();  // a key of an unknown kind has no limit
  return out;
}

/// Returns a digest of all that was checked when a chain was found good: the whole chain, and the
/// name.
Digest digest_of(const STACK_OF(CRYPTO_BUFFER) * chain, std::string_view reference) noexcept {
  Fingerprint all;
  all.add(reference);
  const std::size_t size = chain == nullptr ? 0 : sk_CRYPTO_BUFFER_num(chain);
  for (std::size_t i = 0; i < size; ++i) all.add(sk_CRYPTO_BUFFER_value(chain, i));
  return all.finish();
}

/// Returns the context in which a session may be resumed: under the same policy, with the same
/// names. Not the same certificate: sessions outlive its renewal.
Digest session_context(const Digest& policy, const PresentedNames& names) noexcept {
  Fingerprint all;
  all.add(policy);
  for (const auto& name : names.dns) all.add(name);
  for (const auto& name : names.ip) all.add(name);
  return all.finish();
}

/// Returns the subjects of a store, by which a client chooses among its certificates (RFC 8446
/// §4.2.4). Empty if there are too many. Null when out of memory.
bssl::UniquePtr<STACK_OF(CRYPTO_BUFFER)> ca_names(const TrustStore& store) {
  bssl::UniquePtr<STACK_OF(CRYPTO_BUFFER)> out(sk_CRYPTO_BUFFER_new_null());
  std::set<const CRYPTO_BUFFER*> known;  // equal names are one buffer of the pool
  std::size_t bytes = 0;
  for (const auto& certificate : store.certificates()) {
    if (!out) break;
    std::uint8_t* der = nullptr;
    const int size = i2d_X509_NAME(X509_get_subject_name(certificate.get()), &der);
    const bssl::UniquePtr<std::uint8_t> owner(der);
    if (size <= 0) return nullptr;
    bssl::UniquePtr<CRYPTO_BUFFER> name(
        CRYPTO_BUFFER_new(der, static_cast<std::size_t>(size), buffer_pool()));
    if (!name) return nullptr;
    if (!known.insert(name.get()).second) continue;
    bytes += sizeof(std::uint16_t) + static_cast<std::size_t>(size);
    if (bytes > kMaxCaNames) {
      out.reset(sk_CRYPTO_BUFFER_new_null());
      break;
    }
    if (!bssl::PushToStack(out.get(), std::move(name))) return nullptr;
  }
  return out;
}

}  // namespace

CRYPTO_BUFFER_POOL* buffer_pool() noexcept {
  // Never freed: sessions and contexts of any age point into it.
  static CRYPTO_BUFFER_POOL* const pool = CRYPTO_BUFFER_POOL_new();
  return pool;
}

const Context::Impl& Context::Impl::of(const SSL* ssl) noexcept {
  return *static_cast<const Impl*>(SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl)));
}

/// Verifies a server's chain. Also called when a session is resumed, because a certificate that was
/// good yesterday may have ended today. Fails closed: an SSL without a PeerLink was not made by an
/// Engine.
ssl_verify_result_t Context::Impl::on_verify(SSL* ssl, std::uint8_t* out_alert) noexcept {
  const Impl& self = of(ssl);
  auto* link = static_cast<PeerLink*>(SSL_get_app_data(ssl));
  if (link == nullptr) {
    *out_alert = SSL_AD_INTERNAL_ERROR;
    return ssl_verify_invalid;
  }
  const STACK_OF(CRYPTO_BUFFER)* chain = SSL_get0_peer_certificates(ssl);
  if (link->describe) link->chain = describe_chain(chain);
  if (self.verification == Verification::none) link->subject = leaf_subject(chain);
  link->rejection = self.check_server(chain, link->reference);
  if (!link->rejection) return ssl_verify_ok;
  *out_alert = link->rejection->alert;
  return ssl_verify_invalid;
}

std::optional<Rejection> Context::Impl::check_server(const STACK_OF(CRYPTO_BUFFER) * chain,
                                                     std::string_view reference) const {
  switch (verification) {
    case Verification::none:
      if (pins.empty()) return std::nullopt;
      return verify_pin(chain, pins);
    case Verification::full: {
      const auto now = VerifiedChains::Clock::now();
      const Digest checked = digest_of(chain, reference);
      if (verified.contains(checked, now)) return std::nullopt;
      const auto result = verify_server(*roots, chain, {.reference = reference, .pins = pins});
      if (!result) return result.error();
      verified.add(checked, now, *result);
      return std::nullopt;
    }
  }
  return Rejection{Error{Errc::certificate, "certificate cannot be checked"},
                   SSL_AD_INTERNAL_ERROR};
}

/// Accepts every certificate, so that the handshake completes. A client with a bad certificate then
/// gets the reason inside TLS (RFC 3207 §4.1); see `check_client`.
ssl_verify_result_t Context::Impl::on_verify_client(SSL*, std::uint8_t*) noexcept {
  return ssl_verify_ok;
}

std::optional<Rejection> Context::Impl::check_client(const SSL* ssl) const {
  if (!roots) return std::nullopt;
  const STACK_OF(CRYPTO_BUFFER)* chain = SSL_get0_peer_certificates(ssl);
  const auto now = VerifiedChains::Clock::now();
  const Digest checked = digest_of(chain, {});
  if (verified.contains(checked, now)) return std::nullopt;
  const auto result = verify_client(*roots, chain);
  if (!result) return result.error();
  verified.add(checked, now, *result);
  return std::nullopt;
}

ssl_select_cert_result_t Context::Impl::on_client_hello(const SSL_CLIENT_HELLO* hello) noexcept {
  const Impl& self = of(hello->ssl);
  const ClientOffer offer(*hello);
  const ServerCertificate& certificate = choose_certificate(self.certificates, offer);
  std::vector<CRYPTO_BUFFER*> chain;
  chain.reserve(certificate.chain.size());
  for (const auto& buffer : certificate.chain) chain.push_back(buffer.get());
  const Digest& context = certificate.session_context;
  if (SSL_set_chain_and_key(hello->ssl, chain.data(), chain.size(), certificate.key.get(),
                            nullptr) != 1 ||
      SSL_set_session_id_context(hello->ssl, context.data(), context.size()) != 1) {
    return ssl_select_cert_error;
  }
  // CBC only for clients that can do no better: it is not offered with TLS 1.2.
  const bool legacy = self.min_version < TlsVersion::tls1_2 && !offer.tls1_2_or_newer();
  if (legacy && SSL_set_strict_cipher_list(hello->ssl, kLegacyCiphers) != 1) {
    return ssl_select_cert_error;
  }
  return ssl_select_cert_success;
}

/// Keeps a session for resumption. Returns 1 if we have taken it over.
int Context::Impl::on_new_session(SSL* ssl, SSL_SESSION* session) noexcept {
  const auto* link = static_cast<const PeerLink*>(SSL_get_app_data(ssl));
  if (link == nullptr || link->cache_key.empty()) return 0;
  of(ssl).sessions.put(link->cache_key, bssl::UniquePtr<SSL_SESSION>(session));
  return 1;
}

/// Sets the keys of a ticket (RFC 5077 §4). The library expects -1, 0, 1, or 2 if the ticket is due
/// to be renewed.
int Context::Impl::on_ticket(SSL* ssl, std::uint8_t* key_name, std::uint8_t* iv,
                             EVP_CIPHER_CTX* cipher, HMAC_CTX* hmac, int encrypt) noexcept {
  TicketKeys& keys = *of(ssl).ticket_keys;
  const auto now = TicketKeys::Clock::now();
  const auto use = [&](const TicketKey& key) {
    return HMAC_Init_ex(hmac, key.hmac.data(), key.hmac.size(), EVP_sha256(), nullptr) == 1 &&
           EVP_CipherInit_ex(cipher, EVP_aes_128_cbc(), nullptr, key.aes.data(), iv, encrypt) == 1;
  };
  if (encrypt == 1) {
    const auto key = keys.encrypting(now);
    if (!key || RAND_bytes(iv, EVP_CIPHER_iv_length(EVP_aes_128_cbc())) != 1) return -1;
    std::copy(key->name.begin(), key->name.end(), key_name);
    return use(*key) ? 1 : -1;
  }
  const auto found = keys.find(std::span<const std::uint8_t, 16>(key_name, 16), now);
  if (!found) return 0;
  if (!use(found->key)) return -1;
  return found->is_current ? 1 : 2;
}

/// Selects an ALPN identifier, strictly (RFC 7301 §3.2). If a client offers protocols and none of
/// them is ours, an attacker may have sent it to the wrong server.
int Context::Impl::on_alpn(SSL* ssl, const std::uint8_t** out, std::uint8_t* out_size,
                           const std::uint8_t* in, unsigned in_size, void*) noexcept {
  const std::string& ours = of(ssl).alpn;
  std::uint8_t* selected = nullptr;
  const int result =
      SSL_select_next_proto(&selected, out_size, reinterpret_cast<const std::uint8_t*>(ours.data()),
                            static_cast<unsigned>(ours.size()), in, in_size);
  if (result != OPENSSL_NPN_NEGOTIATED) return SSL_TLSEXT_ERR_ALERT_FATAL;
  *out = selected;
  return SSL_TLSEXT_ERR_OK;
}

Result<std::shared_ptr<const Context>> Context::client(const ClientOptions& options) {
  if (options.min_version < TlsVersion::tls1_2) {
    return fail(Errc::config, "TLS below 1.2 is not allowed towards servers");
  }
  auto impl = std::make_unique<Impl>();
  impl->role = Role::client;
  impl->min_version = options.min_version;
  impl->record_codec = options.record_codec;
  impl->record_cipher = options.record_cipher;
  impl->verification = options.verification;
  impl->pins = options.pins;
  impl->may_withhold_key_share = post_quantum_support() == PostQuantumSupport::full &&
                                 options.post_quantum == PostQuantum::automatic &&
                                 options.max_version == TlsVersion::tls1_3;
  Fingerprint policy;
  policy.add(static_cast<std::uint64_t>(options.verification))
      .add(static_cast<std::uint64_t>(options.min_version))
      .add(static_cast<std::uint64_t>(options.max_version))
      .add(static_cast<std::uint64_t>(options.record_codec))
      .add(static_cast<std::uint64_t>(options.record_cipher))
      .add(static_cast<std::uint64_t>(options.post_quantum));
  for (const Pin& pin : options.pins) policy.add(pin.bytes);
  switch (options.verification) {
    case Verification::none:
      break;
    case Verification::full: {
      auto roots = read_trust_store(options.ca_file);
      if (!roots) return fail(roots.error());
      impl->roots = std::move(*roots);
      policy.add(impl->roots->contents());
      break;
    }
  }
  impl->ssl_ctx = new_ssl_ctx(Role::client, options.min_version, options.post_quantum);
  SSL_CTX* ctx = impl->ssl_ctx.get();
  if (ctx == nullptr ||
      SSL_CTX_set_max_proto_version(ctx, wire_version(options.max_version)) != 1 ||
      SSL_CTX_set_app_data(ctx, impl.get()) != 1) {
    return library_failure();
  }
  if (options.certificate) {
    const auto own = read_certificate_and_key(*options.certificate);
    if (!own) return fail(own.error());
    impl->own.push_back(own->own);
    std::vector<CRYPTO_BUFFER*> chain;
    for (const auto& buffer : own->chain) chain.push_back(buffer.get());
    for (const auto* buffer : chain) policy.add(buffer);
    if (SSL_CTX_set_chain_and_key(ctx, chain.data(), chain.size(), own->key.get(), nullptr) != 1) {
      return library_failure();
    }
  }
  SSL_CTX_set_custom_verify(ctx, SSL_VERIFY_PEER, &Impl::on_verify);
  SSL_CTX_set_reverify_on_resume(ctx, 1);
  SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
  SSL_CTX_sess_set_new_cb(ctx, &Impl::on_new_session);
  impl->policy = policy.finish();
  return std::shared_ptr<const Context>(new Context(std::move(impl)));
}

Result<std::shared_ptr<const Context>> Context::server(const ServerOptions& options) {
  if (options.certificates.empty()) {
    return fail(Errc::config, "TLS towards clients needs a certificate");
  }
  auto impl = std::make_unique<Impl>();
  impl->role = Role::server;
  impl->min_version = options.min_version;
  impl->record_codec = options.record_codec;
  impl->record_cipher = options.record_cipher;
  Fingerprint policy;
  policy.add(static_cast<std::uint64_t>(options.min_version));
  for (const auto& id : options.alpn) {
    policy.add(id);
    impl->alpn += static_cast<char>(id.size());
    impl->alpn += id;
  }
  for (const ChainAndKey& files : options.certificates) {
    auto certificate = read_certificate_and_key(files);
    if (!certificate) return fail(certificate.error());
    impl->own.push_back(certificate->own);
    impl->certificates.push_back(std::move(*certificate));
  }
  impl->ssl_ctx = new_ssl_ctx(Role::server, options.min_version, PostQuantum::automatic);
  SSL_CTX* ctx = impl->ssl_ctx.get();
  if (ctx == nullptr || SSL_CTX_set_app_data(ctx, impl.get()) != 1) return library_failure();
  if (!options.client_ca.empty()) {
    auto roots = read_trust_store(options.client_ca);
    if (!roots) return fail(roots.error());
    impl->roots = std::move(*roots);
    policy.add(impl->roots->contents());
    auto names = ca_names(*impl->roots);
    if (!names) return library_failure();
    SSL_CTX_set0_client_CAs(ctx, names.release());
    SSL_CTX_set_max_cert_list(ctx, kMaxClientChain);
    SSL_CTX_set_custom_verify(ctx, SSL_VERIFY_PEER, &Impl::on_verify_client);
  }
  impl->policy = policy.finish();
  for (auto& certificate : impl->certificates) {
    certificate.session_context = session_context(impl->policy, certificate.names);
  }
  if (options.ticket_keys.empty()) {
    impl->ticket_keys = TicketKeys::of_process();
  } else {
    auto keys = TicketKeys::read(options.ticket_keys);
    if (!keys) return fail(keys.error());
    impl->ticket_keys = std::move(*keys);
  }
  // Tickets only: a cache of our own would have to be shared, and would grow with the clients.
  SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
  // One ticket per connection, as many as a client uses up (RFC 8446 §C.4). A second one would cost
  // a twentieth of a resumed session.
  SSL_CTX_set_num_tickets(ctx, 1);
  if (SSL_CTX_set_tlsext_ticket_key_cb(ctx, &Impl::on_ticket) != 1) return library_failure();
  if (!impl->alpn.empty()) SSL_CTX_set_alpn_select_cb(ctx, &Impl::on_alpn, nullptr);
  SSL_CTX_set_select_certificate_cb(ctx, &Impl::on_client_hello);
  return std::shared_ptr<const Context>(new Context(std::move(impl)));
}

Result<> check_chain(const std::string& chain) {
  if (const auto read = read_chain(chain); !read) return fail(read.error());
  return {};
}

Result<> check_key(const ChainAndKey& files) {
  if (!read_chain(files.chain)) {
    if (const auto key = read_private_key(files.key); !key) return fail(key.error());
    return {};
  }
  if (const auto both = read_certificate_and_key(files); !both) return fail(both.error());
  return {};
}

Result<> check_trust_store(const std::string& ca_file) {
  if (const auto read = read_trust_store(ca_file); !read) return fail(read.error());
  return {};
}

Result<> check_ticket_keys(const std::string& file) {
  if (const auto read = TicketKeys::read(file); !read) return fail(read.error());
  return {};
}

bool Context::same_policy(const Context& other) const noexcept {
  return impl_->role == other.impl_->role && impl_->policy == other.impl_->policy;
}

const std::vector<OwnCertificate>& Context::own_certificates() const noexcept {
  return impl_->own;
}

Context::Context(std::unique_ptr<Impl> impl) noexcept : impl_(std::move(impl)) {}
Context::~Context() = default;

}  // namespace starttls::tls
