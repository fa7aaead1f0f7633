#include "lib/tls/engine.h"

#include <cassert>
#include <utility>

#include "lib/tls/context_impl.h"
#include "lib/tls/failure.h"
#include "lib/tls/name_match.h"
#include "lib/tls/ssl_codec.h"
#include "lib/tls/wire_bio.h"

namespace starttls::tls {

struct Engine::Impl {
  std::shared_ptr<const Context> context;
  WireIo io;
  bssl::UniquePtr<SSL> ssl;            // reads and writes through io
  PeerLink link;                       // hangs on the SSL
  std::unique_ptr<RecordCodec> codec;  // once the handshake is done
};

namespace {

/// An SSL over `io`, or null when out of memory. It gives up most of what only a handshake needs as
/// soon as that is done.
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
                                               std::string peer_name, std::string_view server) {
  assert(context->impl_->role == Role::client);
  if (peer_name.ends_with('.')) peer_name.pop_back();  // RFC 6066 §3: without a trailing dot
  if (peer_name.empty() && context->impl_->verification == Verification::full) {
    return fail(Errc::config, "a server cannot be verified without a name");
  }
  auto impl = std::make_unique<Impl>();
  impl->ssl = new_ssl(context->impl_->ssl_ctx.get(), impl->io);
  if (!impl->ssl) return out_of_memory();
  SSL* ssl = impl->ssl.get();
  SSL_set_connect_state(ssl);
  if (!peer_name.empty() && !ip_octets(peer_name) &&
      SSL_set_tlsext_host_name(ssl, peer_name.c_str()) != 1) {
    ERR_clear_error();
    return fail(Errc::config, "not a server name: " + peer_name);
  }
  if (!server.empty()) {
    impl->link.cache_key = std::string(server) + ' ' + peer_name;
    const auto session = context->impl_->sessions.take(impl->link.cache_key);
    // The certificate that it was made with may have ended since. A full handshake shows the
    // server's new one; resumed, the old one would be refused time and again.
    const bool good = session && !context->impl_->check_server(
                                     SSL_SESSION_get0_peer_certificates(session.get()), peer_name);
    if (good && SSL_set_session(ssl, session.get()) != 1) return out_of_memory();
  }
  impl->link.reference = std::move(peer_name);
  if (SSL_set_app_data(ssl, &impl->link) != 1) return out_of_memory();
  impl->context = std::move(context);
  return std::unique_ptr<Engine>(new Engine(std::move(impl)));
}

Result<std::unique_ptr<Engine>> Engine::server(std::shared_ptr<const Context> context) {
  assert(context->impl_->role == Role::server);
  auto impl = std::make_unique<Impl>();
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
  SSL* ssl = impl_->ssl.get();
  const WireIo::Loan loan(impl_->io, wire, out);
  ERR_clear_error();
  const int result = SSL_do_handshake(ssl);
  const std::size_t consumed = wire.size() - impl_->io.unread();
  if (result == 1) {
    // The library reads record by record, so what follows the peer's last flight is still in
    // `wire`.
    const Context::Impl& settings = *impl_->context->impl_;
    if (settings.role == Role::server) impl_->link.rejection = settings.check_client(ssl);
    // Tickets of TLS 1.3 wait for the first write; ours must not wait for the server to speak. They
    // are part of the handshake's room, not of what sealing adds.
    if (settings.role == Role::server && SSL_version(ssl) == TLS1_3_VERSION) {
      static_cast<void>(SSL_write(ssl, nullptr, 0));  // what fails here fails the next write too
      ERR_clear_error();
    }
    impl_->codec = make_ssl_codec(*ssl, impl_->io);
    return Handshake{consumed, true};
  }
  const int error = SSL_get_error(ssl, result);
  if (error == SSL_ERROR_WANT_READ) return Handshake{consumed, false};
  if (impl_->link.rejection) {
    ERR_clear_error();
    return fail(impl_->link.rejection->error);
  }
  if (impl_->io.overflow() && ERR_peek_error() == 0) {
    return fail(Errc::handshake, "handshake failed: no room for what is to be sent");
  }
  const Context::Impl& context = *impl_->context->impl_;
  return fail(take_handshake_error(context.role, context.min_version));
}

Result<> Engine::open(std::span<const std::byte> wire, std::span<std::byte> plain, WireOut& out,
                      Opened& opened) {
  assert(established());
  return impl_->codec->open(wire, plain, out, opened);
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

void Engine::keep_peer_chain() noexcept {
  impl_->link.describe = true;
}

const std::vector<CertificateInfo>& Engine::peer_chain() const noexcept {
  return impl_->link.chain;
}

Facts Engine::facts() const {
  const SSL* ssl = impl_->ssl.get();
  Facts out;
  out.version = SSL_get_version(ssl);
  if (const SSL_CIPHER* cipher = SSL_get_current_cipher(ssl)) {
    out.cipher = SSL_CIPHER_standard_name(cipher);
  }
  out.resumed = SSL_session_reused(ssl) != 0;
  out.unverified_subject = impl_->link.subject;
  return out;
}

}  // namespace starttls::tls
