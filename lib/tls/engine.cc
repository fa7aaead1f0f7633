#include "lib/tls/engine.h"

#include <cassert>
#include <string_view>
#include <utility>

#include "lib/tls/context_impl.h"
#include "lib/tls/failure.h"
#include "lib/tls/library.h"
#include "lib/tls/name_match.h"
#include "lib/tls/raw_codec13.h"
#include "lib/tls/ssl_codec.h"
#include "lib/tls/wire_bio.h"

namespace starttls::tls {
namespace {

/// A reply or a command is sealed sooner by the library: its code is small, and in the cache since
/// the handshake.
constexpr std::size_t kCipherFrom = 2048;

TlsVersion version_number(const SSL* ssl) noexcept {
  switch (SSL_version(ssl)) {
    case TLS1_VERSION:
      return TlsVersion::tls1_0;
    case TLS1_1_VERSION:
      return TlsVersion::tls1_1;
    case TLS1_2_VERSION:
      return TlsVersion::tls1_2;
    default:
      return TlsVersion::tls1_3;
  }
}

/// Returns OpenSSL's name of a cipher; the library has its own names for those of TLS 1.3.
std::string openssl_name(const SSL_CIPHER* cipher) {
  const std::string_view name = SSL_CIPHER_get_name(cipher);
  return std::string{name.starts_with("AEAD-") ? SSL_CIPHER_standard_name(cipher) : name};
}

ClientFacts facts_of_client(const SSL* ssl, bool verified) {
  ClientFacts out;
  if (const char* name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name)) out.server_name = name;
  const std::uint8_t* alpn = nullptr;
  unsigned alpn_size = 0;
  SSL_get0_alpn_selected(ssl, &alpn, &alpn_size);
  if (alpn_size > 0) out.alpn.assign(reinterpret_cast<const char*>(alpn), alpn_size);
  if (const SSL_CIPHER* cipher = SSL_get_current_cipher(ssl)) out.cipher = openssl_name(cipher);
  out.has_certificate = verified;
  if (verified) {
    out.common_name = leaf_common_name(SSL_get0_peer_certificates(ssl));
    out.subject = leaf_subject_utf8(SSL_get0_peer_certificates(ssl));
  }
  return out;
}

}  // namespace

struct Engine::Impl {
  explicit Impl(BufferPool& p) noexcept : pool(p) {}

  void on_handshake_done();
  [[nodiscard]] bool on_ticket(std::span<const std::byte> message);
  [[nodiscard]] bool has_verified_client() const;
  [[nodiscard]] bool choose_key_shares(const Context::Impl& settings);

  std::shared_ptr<const Context> context;
  WireIo io;
  bssl::UniquePtr<SSL> ssl;  // reads and writes through io
  PeerLink link;             // the SSL's app data
  BufferPool& pool;
  const char* version = "";  // static, the library's
  TlsVersion number = TlsVersion::tls1_3;
  const SSL_CIPHER* cipher = nullptr;  // static, the library's
  TlsGroup group = TlsGroup::other;
  bool resumed = false;
  std::optional<UnixTime> server_certificate_end;  // client role; see Facts
  bool key_share_withheld = false;                 // client role; see Facts
  bool sends_large_hello = false;         // client role; nothing of the server has come yet
  bool hello_is_unanswered = false;       // client role; it was a large one
  bool owns_records = true;               // else the library has them, and stays
  std::unique_ptr<RecordCodec> codec;     // once the handshake is done
  ClientFactsStore::Shared client_facts;  // the same; server role
};

/// Withholds the large key share from a server that has not answered it before. The group itself is
/// always offered: an attacker that drops ClientHellos must not get a weaker key exchange.
bool Engine::Impl::choose_key_shares(const Context::Impl& settings) {
  if (!settings.may_withhold_key_share) return true;
  key_share_withheld = settings.silent.contains(link.cache_key, SilentServers::Clock::now());
  sends_large_hello = !key_share_withheld;
  return sends_large_hello || withhold_key_share(ssl.get());
}

/// True if the client's certificate is one that we have verified. No other certificate is passed on
/// to the server, or logged.
bool Engine::Impl::has_verified_client() const {
  return context->impl_->roots != nullptr && !link.rejection;
}

void Engine::Impl::on_handshake_done() {
  const Context::Impl& settings = *context->impl_;
  if (settings.role == Role::server) {
    link.rejection = settings.check_client(ssl.get());
    // Must happen before the SSL, which holds the facts, is freed.
    client_facts = settings.clients.share(facts_of_client(ssl.get(), has_verified_client()));
    // Tickets of TLS 1.3 wait for the first write, but ours must not wait until the server speaks.
    // They are part of the handshake's room, not of what sealing adds.
    if (SSL_version(ssl.get()) == TLS1_3_VERSION) {
      static_cast<void>(SSL_write(ssl.get(), nullptr, 0));  // a failure fails the next write too
      ERR_clear_error();
    }
  }
  version = SSL_get_version(ssl.get());
  number = version_number(ssl.get());
  cipher = SSL_get_current_cipher(ssl.get());
  group = group_of(ssl.get());
  resumed = SSL_session_reused(ssl.get()) != 0;
  if (settings.role == Role::client && !resumed) {
    server_certificate_end = leaf_end(SSL_get0_peer_certificates(ssl.get()));
  }

  // Tickets that did not fit wait in the library, and their sequence numbers are already used.
  if (settings.record_codec == RecordCodecChoice::automatic && !io.overflow()) {
    RawCodec13Options options{
        .pool = pool, .cipher = settings.record_cipher, .cipher_from = kCipherFrom};
    if (settings.role == Role::client) {
      options.on_ticket = [this](std::span<const std::byte> message) { return on_ticket(message); };
    }
    codec = make_raw_codec13(*ssl, std::move(options));
    // A server needs the library no more; a client still needs it for its tickets.
    if (codec != nullptr && settings.role == Role::server) ssl.reset();
  }
  if (codec == nullptr) {
    codec = make_ssl_codec(*ssl, io);
    owns_records = false;
  }
}

/// Makes a session of a server's ticket, by the library, and caches it. False if it is malformed.
bool Engine::Impl::on_ticket(std::span<const std::byte> message) {
  if (ssl == nullptr) return true;  // the server has sent enough of them
  const bssl::UniquePtr<SSL_SESSION> session(SSL_process_tls13_new_session_ticket(
      ssl.get(), reinterpret_cast<const std::uint8_t*>(message.data()), message.size()));
  if (!session) return false;
  if (!link.cache_key.empty()) {
    context->impl_->sessions.put(link.cache_key, bssl::UpRef(session));
  }
  return true;
}

namespace {

/// Returns an SSL over `io`, or null when out of memory. After the handshake, it frees most of what
/// only a handshake needs.
bssl::UniquePtr<SSL> new_ssl(SSL_CTX* ctx, WireIo& io) {
  bssl::UniquePtr<SSL> ssl(SSL_new(ctx));
  auto bio = io.make_bio();
  if (!ssl || !bio) return nullptr;
  BIO* raw = bio.release();
  SSL_set_bio(ssl.get(), raw, raw);  // takes the one reference for both directions
  SSL_set_shed_handshake_config(ssl.get(), 1);
  return ssl;
}

tl::unexpected<Error> out_of_memory() {
  ERR_clear_error();
  return fail(Errc::system, "out of memory");
}

}  // namespace

Result<std::unique_ptr<Engine>> Engine::client(std::shared_ptr<const Context> context,
                                               BufferPool& pool, std::string peer_name,
                                               std::string_view server) {
  assert(context->impl_->role == Role::client);
  if (peer_name.ends_with('.')) peer_name.pop_back();  // RFC 6066 §3: without a trailing dot
  if (peer_name.empty() && context->impl_->verification == Verification::full) {
    return fail(Errc::config, "a server cannot be verified without a name");
  }
  auto impl = std::make_unique<Impl>(pool);
  impl->ssl = new_ssl(context->impl_->ssl_ctx.get(), impl->io);
  if (!impl->ssl) return out_of_memory();
  SSL* ssl = impl->ssl.get();
  SSL_set_connect_state(ssl);
  if (!peer_name.empty() && !ip_bytes(peer_name) &&
      SSL_set_tlsext_host_name(ssl, peer_name.c_str()) != 1) {
    ERR_clear_error();
    return fail(Errc::config, "not a server name: " + peer_name);
  }
  if (!server.empty()) {
    impl->link.cache_key = std::string(server) + ' ' + peer_name;
    if (!impl->choose_key_shares(*context->impl_)) return out_of_memory();
    const auto session = context->impl_->sessions.take(impl->link.cache_key);
    // The session's certificate may have ended since. A full handshake shows the server's new one.
    // If the session were resumed, the old one would be refused time and again.
    const bool good = session && !context->impl_->check_server(
                                     SSL_SESSION_get0_peer_certificates(session.get()), peer_name);
    if (good && SSL_set_session(ssl, session.get()) != 1) return out_of_memory();
  }
  impl->link.reference = std::move(peer_name);
  if (SSL_set_app_data(ssl, &impl->link) != 1) return out_of_memory();
  impl->context = std::move(context);
  return std::unique_ptr<Engine>(new Engine(std::move(impl)));
}

Result<std::unique_ptr<Engine>> Engine::server(std::shared_ptr<const Context> context,
                                               BufferPool& pool) {
  assert(context->impl_->role == Role::server);
  auto impl = std::make_unique<Impl>(pool);
  impl->ssl = new_ssl(context->impl_->ssl_ctx.get(), impl->io);
  if (!impl->ssl) return out_of_memory();
  SSL_set_accept_state(impl->ssl.get());
  if (SSL_set_app_data(impl->ssl.get(), &impl->link) != 1) return out_of_memory();
  impl->context = std::move(context);
  return std::unique_ptr<Engine>(new Engine(std::move(impl)));
}

Engine::Engine(std::unique_ptr<Impl> impl) noexcept : impl_(std::move(impl)) {}
Engine::~Engine() = default;

Result<Engine::Handshake> Engine::handshake(std::span<const std::byte> wire, WireOut& out) {
  if (established()) return Handshake{0, true};
  if (!wire.empty()) impl_->sends_large_hello = false;
  impl_->hello_is_unanswered = impl_->sends_large_hello;
  SSL* ssl = impl_->ssl.get();
  const WireIo::Loan loan(impl_->io, wire, out);
  ERR_clear_error();
  const int result = SSL_do_handshake(ssl);
  const std::size_t consumed = wire.size() - impl_->io.unread();
  if (result == 1) {
    // The library reads record by record, so the bytes after the peer's last flight are still in
    // `wire`.
    impl_->on_handshake_done();
    return Handshake{consumed, true};
  }
  const int error = SSL_get_error(ssl, result);
  if (error == SSL_ERROR_WANT_READ) return Handshake{consumed, false};
  if (impl_->link.rejection) {
    ERR_clear_error();
    return fail(impl_->link.rejection->error);
  }
  if (impl_->io.overflow() && ERR_peek_error() == 0) {
    return fail(Errc::handshake, "handshake failed: no room for the output");
  }
  const Context::Impl& context = *impl_->context->impl_;
  return fail(take_handshake_error(context.role, context.min_version));
}

bool Engine::note_unanswered_hello() {
  if (!impl_->hello_is_unanswered) return false;
  impl_->context->impl_->silent.add(impl_->link.cache_key, SilentServers::Clock::now());
  return true;
}

Result<> Engine::open(std::span<const std::byte> wire, std::span<std::byte> plain, WireOut& out,
                      OpenedRecords& opened) {
  assert(established());
  auto result = impl_->codec->open(wire, plain, out, opened);
  // Servers send their tickets before they send data. After that the library is not needed, but its
  // 3 KB of memory are.
  if (opened.produced > 0 && impl_->owns_records) impl_->ssl.reset();
  return result;
}

Result<> Engine::seal(std::span<const std::byte> plain, WireOut& out) {
  assert(established());
  return impl_->codec->seal(plain, out);
}

void Engine::close(WireOut& out) noexcept {
  if (established()) impl_->codec->close(out);
}

bool Engine::established() const noexcept {
  return impl_->codec != nullptr;
}

const Error* Engine::refusal() const noexcept {
  return impl_->link.rejection ? &impl_->link.rejection->error : nullptr;
}

const ClientFacts& Engine::client_facts() const noexcept {
  return impl_->client_facts.get();
}

std::string_view Engine::wanted_name() const noexcept {
  if (established() || impl_->ssl == nullptr) return client_facts().server_name;
  const char* name = SSL_get_servername(impl_->ssl.get(), TLSEXT_NAMETYPE_host_name);
  return name == nullptr ? std::string_view{} : std::string_view{name};
}

void Engine::keep_peer_chain() noexcept {
  impl_->link.describe = true;
}

const std::vector<CertificateInfo>& Engine::peer_chain() const noexcept {
  return impl_->link.chain;
}

Facts Engine::facts() const {
  Facts out;
  out.version = impl_->version;
  out.number = impl_->number;
  if (impl_->cipher != nullptr) out.cipher = SSL_CIPHER_standard_name(impl_->cipher);
  out.group = impl_->group;
  out.resumed = impl_->resumed;
  out.server_certificate_end = impl_->server_certificate_end;
  out.key_share_withheld = impl_->key_share_withheld;
  out.unverified_subject = impl_->link.subject;
  return out;
}

}  // namespace starttls::tls
