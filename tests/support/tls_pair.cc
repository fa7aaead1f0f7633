#include "tests/support/tls_pair.h"

#include <stdexcept>
#include <utility>

namespace starttls::test {
namespace {

std::span<const std::byte> bytes(std::string_view text) {
  return std::as_bytes(std::span(text));
}

std::string text(std::span<const std::byte> data) {
  return {reinterpret_cast<const char*>(data.data()), data.size()};
}

void must(bool ok, const char* what) {
  if (!ok) throw std::runtime_error(what);
}

Error library_error() {
  const std::uint32_t code = ERR_get_error();
  ERR_clear_error();
  const char* reason = ERR_reason_error_string(code);
  return Error{Errc::tls, reason != nullptr ? reason : ""};
}

bssl::UniquePtr<BIO> reading(std::string_view pem) {
  return bssl::UniquePtr<BIO>(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())));
}

}  // namespace

ChainAndKey PkiFolder::write(const std::string& name, const pki::Identity& id) const {
  return {write(name + ".pem", id.chain_pem(), 0644), write(name + ".key", id.key_pem(), 0600)};
}

BufferPool& worker_pool() {
  thread_local BufferPool pool;
  return pool;
}

Result<bool> EngineEnd::handshake(std::string& in, std::string& out) {
  std::vector<std::byte> buffer(tls::kHandshakeRoom);
  tls::WireOut wire{buffer};
  const auto result = engine_->handshake(bytes(in), wire);
  out += text(wire.written());
  if (!result) return fail(result.error());
  in.erase(0, result->consumed);
  return result->done;
}

std::string EngineEnd::seal(std::string_view plain) {
  std::vector<std::byte> buffer(tls::sealed_size_bound(plain.size()));
  tls::WireOut wire{buffer};
  must(engine_->seal(bytes(plain), wire).has_value(), "seal");
  return text(wire.written());
}

TlsEnd::Received EngineEnd::receive(std::string& in) {
  Received out;
  std::vector<std::byte> plain(plain_room_);
  std::vector<std::byte> alerts(4096);
  for (;;) {
    tls::WireOut wire{alerts};
    tls::OpenedRecords opened;
    const auto result = engine_->open(bytes(in), plain, wire, opened);
    out.plain += text(std::span<const std::byte>(plain).first(opened.produced));
    in.erase(0, opened.consumed);
    out.close_notify = opened.close_notify;
    if (!result) {
      out.error = result.error();
      return out;
    }
    if (opened.close_notify) return out;
    if (opened.produced < plain.size() && (in.empty() || opened.consumed == 0)) return out;
  }
}

std::string EngineEnd::close() {
  std::vector<std::byte> buffer(1024);
  tls::WireOut wire{buffer};
  engine_->close(wire);
  return text(wire.written());
}

LibraryEnd::LibraryEnd(const LibraryOptions& options) : ctx_(SSL_CTX_new(TLS_method())) {
  SSL_CTX* ctx = ctx_.get();
  must(ctx != nullptr && SSL_CTX_set_min_proto_version(ctx, options.min_version) == 1 &&
           SSL_CTX_set_max_proto_version(ctx, options.max_version) == 1,
       "versions");
  if (!options.ciphers.empty()) {
    must(SSL_CTX_set_strict_cipher_list(ctx, options.ciphers.c_str()) == 1, "ciphers");
  }
  if (!options.verify_schemes.empty()) {
    must(SSL_CTX_set_verify_algorithm_prefs(ctx, options.verify_schemes.data(),
                                            options.verify_schemes.size()) == 1,
         "schemes");
  }
  if (!options.signing_schemes.empty()) {
    must(SSL_CTX_set_signing_algorithm_prefs(ctx, options.signing_schemes.data(),
                                             options.signing_schemes.size()) == 1,
         "schemes");
  }
}

void LibraryEnd::use(const pki::Identity& identity) {
  SSL_CTX* ctx = ctx_.get();
  const std::string chain = identity.chain_pem();
  const auto bio = reading(chain);
  bssl::UniquePtr<X509> leaf(PEM_read_bio_X509(bio.get(), nullptr, nullptr, nullptr));
  must(leaf && SSL_CTX_use_certificate(ctx, leaf.get()) == 1, "leaf");
  while (bssl::UniquePtr<X509> next{PEM_read_bio_X509(bio.get(), nullptr, nullptr, nullptr)}) {
    must(SSL_CTX_add1_chain_cert(ctx, next.get()) == 1, "chain");
  }
  ERR_clear_error();
  const std::string key_pem = identity.key_pem();
  const bssl::UniquePtr<EVP_PKEY> key(
      PEM_read_bio_PrivateKey(reading(key_pem).get(), nullptr, nullptr, nullptr));
  must(key && SSL_CTX_use_PrivateKey(ctx, key.get()) == 1, "key");
}

std::unique_ptr<LibraryEnd> LibraryEnd::client(const LibraryOptions& options) {
  std::unique_ptr<LibraryEnd> out(new LibraryEnd(options));
  SSL_CTX* ctx = out->ctx_.get();
  if (options.certificate) out->use(*options.certificate);
  std::string alpn;
  for (const auto& id : options.alpn) alpn += static_cast<char>(id.size()) + id;
  must(SSL_CTX_set_alpn_protos(ctx, reinterpret_cast<const std::uint8_t*>(alpn.data()),
                               static_cast<unsigned>(alpn.size())) == 0,
       "ALPN");
  SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
  SSL_CTX_sess_set_new_cb(ctx, [](SSL* ssl, SSL_SESSION* session) -> int {
    static_cast<LibraryEnd*>(SSL_get_app_data(ssl))->session_.reset(session);
    return 1;
  });
  out->ssl_.reset(SSL_new(ctx));
  must(SSL_set_app_data(out->ssl(), out.get()) == 1, "app data");
  if (options.session != nullptr) {
    must(SSL_set_session(out->ssl(), options.session) == 1, "session");
    out->session_ = bssl::UpRef(options.session);  // TLS 1.2 goes on with it
  }
  SSL_set_bio(out->ssl(), BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()));
  SSL_set_connect_state(out->ssl());
  if (!options.server_name.empty()) {
    must(SSL_set_tlsext_host_name(out->ssl(), options.server_name.c_str()) == 1, "SNI");
  }
  return out;
}

std::unique_ptr<LibraryEnd> LibraryEnd::server(const pki::Identity& identity,
                                               const LibraryOptions& options) {
  std::unique_ptr<LibraryEnd> out(new LibraryEnd(options));
  SSL_CTX* ctx = out->ctx_.get();
  out->use(identity);
  constexpr std::uint8_t kTicketKeys[48] = {1};
  must(SSL_CTX_set_tlsext_ticket_keys(ctx, kTicketKeys, sizeof(kTicketKeys)) == 1, "ticket keys");
  if (options.asks_for_certificate) {
    SSL_CTX_set_custom_verify(ctx, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT,
                              [](SSL*, std::uint8_t*) { return ssl_verify_ok; });
  }
  SSL_CTX_set_tlsext_servername_callback(ctx, [](SSL* ssl, int*, void* self) -> int {
    const char* name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
    static_cast<LibraryEnd*>(self)->server_name_ = name != nullptr ? name : "";
    return SSL_TLSEXT_ERR_OK;
  });
  SSL_CTX_set_tlsext_servername_arg(ctx, out.get());
  out->ssl_.reset(SSL_new(ctx));
  SSL_set_bio(out->ssl(), BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()));
  SSL_set_accept_state(out->ssl());
  return out;
}

void LibraryEnd::feed(std::string& in) {
  if (!in.empty()) {
    must(BIO_write(SSL_get_rbio(ssl()), in.data(), static_cast<int>(in.size())) ==
             static_cast<int>(in.size()),
         "feed");
  }
  in.clear();
}

std::string LibraryEnd::drain() {
  BIO* bio = SSL_get_wbio(ssl());
  const std::uint8_t* data = nullptr;
  std::size_t size = 0;
  must(BIO_mem_contents(bio, &data, &size) == 1, "drain");
  std::string out(reinterpret_cast<const char*>(data), size);
  BIO_reset(bio);
  return out;
}

Result<bool> LibraryEnd::handshake(std::string& in, std::string& out) {
  feed(in);
  ERR_clear_error();
  const int result = SSL_do_handshake(ssl());
  out += drain();
  if (result == 1) return true;
  if (SSL_get_error(ssl(), result) == SSL_ERROR_WANT_READ) return false;
  return fail(library_error());
}

std::string LibraryEnd::seal(std::string_view plain) {
  ERR_clear_error();
  must(SSL_write(ssl(), plain.data(), static_cast<int>(plain.size())) ==
           static_cast<int>(plain.size()),
       "SSL_write");
  return drain();
}

TlsEnd::Received LibraryEnd::receive(std::string& in) {
  feed(in);
  Received out;
  char buffer[16384];
  for (;;) {
    ERR_clear_error();
    const int n = SSL_read(ssl(), buffer, sizeof(buffer));
    if (n > 0) {
      out.plain.append(buffer, static_cast<std::size_t>(n));
      continue;
    }
    const int error = SSL_get_error(ssl(), n);
    out.close_notify = error == SSL_ERROR_ZERO_RETURN;
    if (error != SSL_ERROR_WANT_READ && !out.close_notify) out.error = library_error();
    return out;
  }
}

std::string LibraryEnd::close() {
  SSL_shutdown(ssl());
  ERR_clear_error();
  return drain();
}

std::string LibraryEnd::peer_common_name() {
  const bssl::UniquePtr<X509> leaf(SSL_get_peer_certificate(ssl()));
  if (!leaf) return "";
  char name[100] = {};
  X509_NAME_get_text_by_NID(X509_get_subject_name(leaf.get()), NID_commonName, name, sizeof(name));
  return name;
}

HandshakeResult shake_hands(TlsEnd& client, TlsEnd& server, std::size_t segment) {
  struct Side {
    TlsEnd& end;
    std::string arrived = {};
    std::string outgoing = {};
    bool done = false;
    std::optional<Error> error = {};
  };
  Side sides[2] = {{client}, {server}};
  bool first = true;
  bool progress = true;
  while (progress) {
    progress = false;
    for (Side& side : sides) {
      Side& other = &side == &sides[0] ? sides[1] : sides[0];
      const std::string piece = other.outgoing.substr(0, segment);
      if (piece.empty() && !first) continue;
      progress = true;
      other.outgoing.erase(0, piece.size());
      side.arrived += piece;
      if (side.done || side.error) continue;
      const auto result = side.end.handshake(side.arrived, side.outgoing);
      if (result) {
        side.done = *result;
      } else {
        side.error = result.error();
      }
    }
    first = false;
  }
  const bool done = sides[0].done && sides[1].done;
  if (done) {
    // The server's tickets come after its handshake (RFC 8446 §4.6.1), and are no payload.
    const auto tickets = client.receive(sides[0].arrived);
    must(tickets.plain.empty() && !tickets.error, "tickets");
  }
  return {done, sides[0].error, sides[1].error, sides[0].arrived, sides[1].arrived};
}

pki::CertificateOptions server_options() {
  return {.common_name = "mail.test",
          .dns_names = {"localhost", "mail.test"},
          .ip_addresses = {"127.0.0.1", "::1"}};
}

const TestPki& test_pki() {
  static const TestPki pki = [] {
    auto root = pki::Identity::self_signed({.common_name = "test root", .ca = true});
    auto ca = root.issue({.common_name = "test CA", .ca = true});
    auto rsa = server_options();
    rsa.key = pki::KeyType::rsa_2048;
    rsa.common_name = "mail.test RSA";
    return TestPki{root, ca, ca.issue(server_options()), ca.issue(rsa)};
  }();
  return pki;
}

}  // namespace starttls::test
