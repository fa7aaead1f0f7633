// The engine against itself and against the bare library, in memory.

#include "lib/tls/engine.h"

#include <openssl/aead.h>

#include <atomic>
#include <cstdlib>
#include <string>
#include <string_view>
#include <thread>

#if defined(__GLIBC__) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#include <malloc.h>
#define STARTTLS_HAVE_MALLINFO
#endif

#include "lib/tls/library.h"
#include "tests/support/catch.h"
#include "tests/support/payload.h"
#include "tests/support/record_cipher.h"
#include "tests/support/tls_pair.h"

namespace starttls {
namespace {

using test::EngineEnd;
using test::HandshakeResult;
using test::has;
using test::LibraryEnd;
using test::LibraryOptions;
using test::payload;
using test::PkiFolder;
using test::server_options;
using test::shake_hands;
using test::test_pki;
using test::TlsEnd;
using tls::Context;
using tls::Engine;

constexpr std::uint16_t kTls1_0 = TLS1_VERSION;
constexpr std::uint16_t kTls1_1 = TLS1_1_VERSION;
constexpr std::uint16_t kTls1_2 = TLS1_2_VERSION;
constexpr std::uint16_t kTls1_3 = TLS1_3_VERSION;
constexpr char kGcmSuite[] = "ECDHE-RSA-AES128-GCM-SHA256";
constexpr char kCbcSuites[] = "ECDHE-ECDSA-AES128-SHA:ECDHE-RSA-AES128-SHA:AES128-SHA";

/// Returns the record layer of this run. The whole file runs twice: see CMakeLists.txt.
RecordCodecChoice record_codec() {
  return std::getenv("STARTTLS_LIBRARY_RECORDS") != nullptr ? RecordCodecChoice::library
                                                            : RecordCodecChoice::automatic;
}

std::shared_ptr<const Context> client_context(tls::ClientOptions options = {}) {
  const PkiFolder folder;
  options.record_codec = record_codec();
  options.record_cipher = test::record_cipher();
  if (options.ca_file.empty()) {
    options.ca_file = folder.write("ca.pem", test_pki().root.certificate_pem());
  }
  auto context = Context::client(options);
  REQUIRE(context);
  return *context;
}

std::shared_ptr<const Context> server_context(const std::vector<pki::Identity>& identities,
                                              TlsVersion min_version = TlsVersion::tls1_2,
                                              RecordCodecChoice codec = record_codec()) {
  const PkiFolder folder;
  tls::ServerOptions options{
      .min_version = min_version, .record_codec = codec, .record_cipher = test::record_cipher()};
  for (const auto& identity : identities) {
    options.certificates.push_back(
        folder.write(std::to_string(options.certificates.size()), identity));
  }
  auto context = Context::server(options);
  REQUIRE(context);
  return *context;
}

std::unique_ptr<EngineEnd> client_end(std::shared_ptr<const Context> context = client_context(),
                                      std::string name = "mail.test") {
  auto engine = Engine::client(std::move(context), test::worker_pool(), std::move(name));
  REQUIRE(engine);
  return std::make_unique<EngineEnd>(std::move(*engine));
}

std::unique_ptr<EngineEnd> server_end(
    std::shared_ptr<const Context> context = server_context({test_pki().server})) {
  auto engine = Engine::server(std::move(context), test::worker_pool());
  REQUIRE(engine);
  return std::make_unique<EngineEnd>(std::move(*engine));
}

/// Returns a server with the library's records. Its room for plaintext may be smaller than a
/// record.
std::unique_ptr<EngineEnd> server_end_with_the_librarys_records() {
  return server_end(
      server_context({test_pki().server}, TlsVersion::tls1_2, RecordCodecChoice::library));
}

std::unique_ptr<LibraryEnd> library_server(LibraryOptions options = {},
                                           const pki::Identity& identity = test_pki().server) {
  return LibraryEnd::server(identity, options);
}

/// Returns the first bytes that a client sends.
std::string client_hello(TlsEnd& client) {
  std::string in;
  std::string out;
  REQUIRE(client.handshake(in, out));
  return out;
}

std::string client_failure(TlsEnd& client, TlsEnd& server, Errc code = Errc::handshake) {
  const HandshakeResult outcome = shake_hands(client, server);
  REQUIRE(outcome.client_error);
  CHECK(outcome.client_error->code == code);
  CHECK(ERR_peek_error() == 0);
  return outcome.client_error->reason;
}

void check_exchange(TlsEnd& from, TlsEnd& to, const std::string& data) {
  std::string wire = data.empty() ? std::string() : from.seal(data);
  const auto received = to.receive(wire);
  CHECK_FALSE(received.error);
  CHECK_FALSE(received.close_notify);
  CHECK(received.plain.size() == data.size());
  CHECK((received.plain == data));
  CHECK(wire.empty());
}

TEST_CASE("engine: TLS 1.3 works between two engines", "[tls]") {
  const auto client = client_end();
  const auto server = server_end();
  CHECK_FALSE(client->engine().established());
  const HandshakeResult outcome = shake_hands(*client, *server);
  REQUIRE(outcome.done);
  CHECK(client->engine().established());
  for (const auto* end : {client.get(), server.get()}) {
    const auto facts = const_cast<EngineEnd*>(end)->engine().facts();
    CHECK(facts.version == "TLSv1.3");
    CHECK(facts.number == TlsVersion::tls1_3);
    CHECK(facts.cipher.starts_with("TLS_"));
    CHECK_FALSE(facts.resumed);
    CHECK(facts.unverified_subject.empty());
  }
  check_exchange(*client, *server, "EHLO\r\n");
  check_exchange(*server, *client, "250 ok\r\n");
}

TEST_CASE("engine: TLS 1.2 works with another program, as client and as server", "[tls]") {
  const auto client = client_end();
  const auto server = library_server({.max_version = TLS1_2_VERSION});
  REQUIRE(shake_hands(*client, *server).done);
  CHECK(client->engine().facts().version == "TLSv1.2");
  CHECK(client->engine().facts().number == TlsVersion::tls1_2);
  CHECK(client->engine().facts().cipher.starts_with("TLS_ECDHE_ECDSA_WITH_"));
  check_exchange(*client, *server, payload(100000));
  check_exchange(*server, *client, payload(100000));

  const auto other = LibraryEnd::client({.max_version = TLS1_2_VERSION});
  const auto ours = server_end();
  REQUIRE(shake_hands(*other, *ours).done);
  CHECK(ours->engine().facts().version == "TLSv1.2");
  check_exchange(*other, *ours, payload(100000));
  check_exchange(*ours, *other, payload(100000));
}

TEST_CASE("engine: the handshake works in any segmentation", "[tls][L18]") {
  const auto clients = client_context();
  const auto servers = server_context({test_pki().server});
  for (const std::size_t segment : {1U, 2U, 3U, 4U, 5U, 6U, 7U, 100U, 517U}) {
    INFO(segment);
    const auto client = client_end(clients);
    const auto server = server_end(servers);
    REQUIRE(shake_hands(*client, *server, segment).done);
    check_exchange(*client, *server, "hello");

    const auto client12 = client_end(clients);
    const auto server12 = library_server({.max_version = TLS1_2_VERSION});
    REQUIRE(shake_hands(*client12, *server12, segment).done);
    check_exchange(*server12, *client12, "hello");
  }
}

TEST_CASE("engine: the server's flight may be cut in two anywhere", "[tls][L18]") {
  const auto clients = client_context();
  const auto servers = server_context({test_pki().server});
  std::size_t size = 2;
  for (std::size_t cut = 1; cut < size; cut += 3) {
    const auto client = client_end(clients);
    const auto server = server_end(servers);
    std::string hello = client_hello(*client);
    std::string flight;
    REQUIRE(server->handshake(hello, flight));
    size = flight.size();  // differs by a byte or two, as signatures do
    if (cut >= size) break;
    std::string finished;
    std::string in = flight.substr(0, cut);
    const auto first = client->handshake(in, finished);
    REQUIRE(first);
    CHECK_FALSE(*first);
    CHECK(in.empty());
    in = flight.substr(cut);
    const auto second = client->handshake(in, finished);
    REQUIRE(second);
    CHECK(*second);
    REQUIRE(server->handshake(finished, flight));
    CHECK(server->engine().established());
  }
  CHECK(size > 500);
}

TEST_CASE("engine: payload of any size arrives unchanged, both ways", "[tls]") {
  const auto client = client_end();
  SECTION("TLS 1.3") {
    const auto server = server_end();
    REQUIRE(shake_hands(*client, *server).done);
    for (const std::size_t size : {0U, 1U, 16383U, 16384U, 16385U, 1U << 20U}) {
      check_exchange(*client, *server, payload(size));
      check_exchange(*server, *client, payload(size));
    }
  }
  SECTION("TLS 1.2") {
    const auto server = library_server({.max_version = TLS1_2_VERSION});
    REQUIRE(shake_hands(*client, *server).done);
    for (const std::size_t size : {0U, 1U, 16383U, 16384U, 16385U, 1U << 20U}) {
      check_exchange(*client, *server, payload(size));
      check_exchange(*server, *client, payload(size));
    }
  }
}

TEST_CASE("engine: payload is sealed in whole records, within the bound", "[tls]") {
  const auto client = client_end();
  const auto server = server_end();
  REQUIRE(shake_hands(*client, *server).done);
  const std::string wire = client->seal(payload(4 * tls::kMaxRecordPlain));
  CHECK(wire.size() == 4 * (tls::kMaxRecordPlain + 22));  // TLS 1.3: header 5, type 1, tag 16
  CHECK(wire.size() <= tls::sealed_size_bound(4 * tls::kMaxRecordPlain));
}

TEST_CASE("engine: records may be cut in two anywhere", "[tls]") {
  const auto client = client_end();
  const auto server = server_end();
  REQUIRE(shake_hands(*client, *server).done);
  const std::string data = payload(300);
  const std::size_t size = 2 * (data.size() + 22);
  for (std::size_t cut = 0; cut <= size; ++cut) {
    std::string wire = client->seal(data);
    wire += client->seal(data);
    REQUIRE(wire.size() == size);
    std::string in = wire.substr(0, cut);
    std::string got = server->receive(in).plain;
    CHECK(in.empty());  // an incomplete record is kept inside
    in += wire.substr(cut);
    got += server->receive(in).plain;
    CHECK((got == data + data));
  }
}

TEST_CASE("engine: records may arrive byte by byte", "[tls]") {
  const auto client = client_end();
  const auto server = server_end();
  REQUIRE(shake_hands(*client, *server).done);
  const std::string data = payload(20000);
  server->set_plain_room(32 * 1024);  // a small room, since it is made anew for each byte
  std::string got;
  for (const char c : client->seal(data)) {
    std::string in(1, c);
    const auto received = server->receive(in);
    REQUIRE_FALSE(received.error);
    got += received.plain;
  }
  CHECK((got == data));
}

TEST_CASE("engine: plaintext that does not fit comes with the next call", "[tls]") {
  const auto client = client_end();
  const auto server = server_end_with_the_librarys_records();
  REQUIRE(shake_hands(*client, *server).done);
  const std::string data = payload(50000);
  for (const std::size_t room : {1U, 2U, 1000U, 16384U, 16385U, 49999U, 50000U, 50001U}) {
    INFO(room);
    server->set_plain_room(room);
    check_exchange(*client, *server, data);
  }
  SECTION("even when no more wire comes") {
    std::string wire = client->seal("0123456789");
    std::vector<std::byte> plain(4);
    std::vector<std::byte> room(100);
    tls::WireOut out{room};
    tls::OpenedRecords opened;
    REQUIRE(server->engine().open(std::as_bytes(std::span(wire)), plain, out, opened));
    CHECK(opened.consumed == wire.size());
    CHECK(opened.produced == 4);
    REQUIRE(server->engine().open({}, plain, out, opened));
    CHECK(opened.produced == 4);
    CHECK(std::to_integer<char>(plain[0]) == '4');
    REQUIRE(server->engine().open({}, plain, out, opened));
    CHECK(opened.produced == 2);
    REQUIRE(server->engine().open({}, plain, out, opened));
    CHECK(opened.produced == 0);
    CHECK(out.used == 0);
  }
}

TEST_CASE("engine: data after the last handshake message is left for open", "[tls]") {
  const auto client = client_end();
  const auto server = server_end();
  std::string hello = client_hello(*client);
  std::string flight;
  REQUIRE(server->handshake(hello, flight));
  std::string to_server;
  REQUIRE(client->handshake(flight, to_server));
  REQUIRE(client->engine().established());
  to_server += client->seal("EHLO x\r\n");  // with our Finished, in one segment
  std::string out;
  const auto done = server->handshake(to_server, out);
  REQUIRE(done);
  CHECK(*done);
  CHECK(server->receive(to_server).plain == "EHLO x\r\n");
}

TEST_CASE("engine: close_notify ends one direction only", "[tls][L12]") {
  const auto client = client_end();
  const auto server = server_end();
  REQUIRE(shake_hands(*client, *server).done);
  std::string wire = client->seal("QUIT\r\n");
  wire += client->close();
  CHECK(client->close().empty());  // safe to repeat
  const auto received = server->receive(wire);
  CHECK(received.plain == "QUIT\r\n");
  CHECK(received.close_notify);
  CHECK_FALSE(received.error);
  check_exchange(*server, *client, "221 bye\r\n");
  std::string end = server->close();
  CHECK(client->receive(end).close_notify);
}

TEST_CASE("engine: close_notify after data that fills the plaintext's room comes later", "[tls]") {
  const auto client = client_end();
  const auto server = server_end_with_the_librarys_records();
  REQUIRE(shake_hands(*client, *server).done);
  server->set_plain_room(6);
  std::string wire = client->seal("QUIT\r\n");
  wire += client->close();
  const auto received = server->receive(wire);
  CHECK(received.plain == "QUIT\r\n");
  CHECK(received.close_notify);
}

TEST_CASE("engine: a stream that just stops has no close_notify", "[tls][security][L11]") {
  const auto client = client_end();
  const auto server = server_end();
  REQUIRE(shake_hands(*client, *server).done);
  std::string wire = client->seal("first\r\n");
  wire += client->seal("second\r\n");
  for (std::size_t size = 0; size < 29; ++size) {  // up to the first record's last byte
    std::string in = wire.substr(size, 1);
    const auto received = server->receive(in);
    CHECK_FALSE(received.close_notify);
    CHECK(received.plain == (size == 28 ? "first\r\n" : ""));
  }
  std::string in;
  CHECK_FALSE(server->receive(in).close_notify);
}

TEST_CASE("engine: nothing of a tampered record is delivered, and everything before it",
          "[tls][security]") {
  const auto clients = client_context();
  const auto servers = server_context({test_pki().server});
  const std::string data = payload(64);
  for (std::size_t at = 0; at < data.size() + 22; ++at) {
    INFO(at);
    const auto client = client_end(clients);
    const auto server = server_end(servers);
    REQUIRE(shake_hands(*client, *server).done);
    std::string wire = client->seal("good\r\n");
    const std::size_t start = wire.size();
    wire += client->seal(data);
    wire += client->seal("behind\r\n");
    wire[start + at] = static_cast<char>(wire[start + at] ^ 0x40);
    auto received = server->receive(wire);
    CHECK(received.plain == "good\r\n");
    CHECK_FALSE(received.close_notify);
    // With a longer length the engine waits for bytes that never come.
    const bool waits = at == 3 && !received.error;
    if (!waits) {
      REQUIRE(received.error);
      CHECK(received.error->code == Errc::tls);
    }
    std::string rest = client->seal("more\r\n");
    CHECK(server->receive(rest).plain.empty());
    CHECK(ERR_peek_error() == 0);
  }
}

TEST_CASE("engine: plaintext instead of a ServerHello is not TLS", "[tls][security][B8][B9]") {
  for (const auto* text : {"250 x\r\n", "220 mail.test ESMTP\r\n", "* OK ready\r\n",
                           "HTTP/1.1 400 \r\n", "+OK\r\n220 go\r\n"}) {
    INFO(text);
    const auto client = client_end();
    client_hello(*client);
    std::string in = text;
    std::string out;
    const auto result = client->handshake(in, out);
    REQUIRE_FALSE(result);
    CHECK(result.error().code == Errc::handshake);
    CHECK(result.error().reason == "not TLS: the server sent something else");
    CHECK_FALSE(result.error().evidence.empty());
    CHECK_FALSE(client->engine().established());
    CHECK(ERR_peek_error() == 0);
  }
}

TEST_CASE("engine: plaintext during the handshake is refused", "[tls][security][B8]") {
  const auto client = client_end();
  const auto server = server_end();
  std::string hello = client_hello(*client);
  std::string flight;
  REQUIRE(server->handshake(hello, flight));
  const std::size_t server_hello = 5 + static_cast<unsigned char>(flight[4]);
  std::string in =
      flight.substr(0, server_hello) + "250 injected\r\n" + flight.substr(server_hello);
  std::string out;
  const auto result = client->handshake(in, out);
  REQUIRE_FALSE(result);
  CHECK(result.error().code == Errc::handshake);
}

TEST_CASE("engine: plaintext instead of a ClientHello is not TLS", "[tls][security][A7][G13]") {
  for (const auto* text : {"NOOP\r\n", "GET / HTTP/1.0\r\n\r\n", "STARTTLS\r\n"}) {
    const auto server = server_end();
    std::string in = text;
    std::string out;
    const auto result = server->handshake(in, out);
    REQUIRE_FALSE(result);
    CHECK(result.error().reason == "not TLS: the client sent something else");
    CHECK_FALSE(server->engine().established());
  }
}

TEST_CASE("engine: a server that only speaks TLS 1.1 is refused with a reason",
          "[tls][security][X16]") {
  const auto client = client_end();
  const auto server = library_server({.max_version = TLS1_1_VERSION}, test_pki().server_rsa);
  CHECK(client_failure(*client, *server) == "the server only speaks TLS 1.1 or older");

  // An older program ignores supported_versions and answers with its own version.
  const auto client2 = client_end();
  client_hello(*client2);
  std::string hello = {2, 0, 0, 38, 3, 2};
  hello += std::string(32, 'r') + std::string("\0\xc0\x13\0", 4);
  std::string in = std::string{0x16, 3, 2, 0, static_cast<char>(hello.size())} + hello;
  std::string out;
  const auto result = client2->handshake(in, out);
  REQUIRE_FALSE(result);
  CHECK(result.error().reason == "the server only speaks TLS 1.1 or older");

  const auto strict = client_end(client_context({.min_version = TlsVersion::tls1_3}));
  const auto server12 = library_server({.max_version = TLS1_2_VERSION});
  CHECK(client_failure(*strict, *server12) == "the server only speaks TLS 1.2 or older");
}

TEST_CASE("engine: a server without our cipher suites is refused", "[tls][security][X16]") {
  for (const auto& suites : {"AES128-GCM-SHA256", "ECDHE-RSA-AES128-SHA"}) {
    const auto client = client_end();
    const auto server =
        library_server({.max_version = TLS1_2_VERSION, .ciphers = suites}, test_pki().server_rsa);
    CHECK(client_failure(*client, *server) ==
          "the server refused the handshake: handshake failure (alert 40)");
  }
}

TEST_CASE("engine: a client without our cipher suites is refused", "[tls][security][X16]") {
  const auto client = LibraryEnd::client({.max_version = TLS1_2_VERSION, .ciphers = kCbcSuites});
  const auto server = server_end();
  const HandshakeResult outcome = shake_hands(*client, *server);
  REQUIRE(outcome.server_error);
  CHECK(outcome.server_error->reason == "no shared cipher");
}

TEST_CASE("engine: a client of TLS 1.1 is refused by default", "[tls][security][X17]") {
  const auto client = LibraryEnd::client({.max_version = TLS1_1_VERSION});
  const auto server = server_end();
  const HandshakeResult outcome = shake_hands(*client, *server);
  REQUIRE(outcome.server_error);
  CHECK(outcome.server_error->reason == "the client only speaks TLS 1.1 or older");
  CHECK(outcome.client_error->reason == "TLSV1_ALERT_PROTOCOL_VERSION");
}

TEST_CASE("engine: a service for an old device accepts TLS 1.0 with CBC, and no CBC with TLS 1.2",
          "[tls][security][X17]") {
  const auto context =
      server_context({test_pki().server, test_pki().server_rsa}, TlsVersion::tls1_0);
  for (const std::uint16_t version : {kTls1_0, kTls1_1}) {
    for (const auto* suite : {"ECDHE-ECDSA-AES128-SHA", "ECDHE-RSA-AES128-SHA"}) {
      INFO(suite);
      const auto client = LibraryEnd::client(
          {.max_version = version, .ciphers = suite, .server_name = "mail.test"});
      const auto server = server_end(context);
      REQUIRE(shake_hands(*client, *server).done);
      check_exchange(*client, *server, payload(20000));
      check_exchange(*server, *client, payload(20000));
    }
  }
  const auto failure = [&context](std::uint16_t version, const char* suites) {
    const auto client = LibraryEnd::client({.max_version = version, .ciphers = suites});
    const auto server = server_end(context);
    const HandshakeResult outcome = shake_hands(*client, *server);
    return outcome.server_error ? outcome.server_error->reason : "";
  };
  CHECK(failure(kTls1_2, kCbcSuites) == "no shared cipher");
  // T10: no RSA key transport.
  for (const std::uint16_t version : {kTls1_0, kTls1_1, kTls1_2}) {
    INFO(version);
    CHECK(failure(version, "AES128-SHA:AES256-SHA:DES-CBC3-SHA") == "no shared cipher");
  }

  const auto modern = LibraryEnd::client({});
  const auto server13 = server_end(context);
  REQUIRE(shake_hands(*modern, *server13).done);
  CHECK(server13->engine().facts().version == "TLSv1.3");
}

TEST_CASE("engine: a server with the wrong name is refused, and gets an alert",
          "[tls][security][X3]") {
  const auto client = client_end(client_context(), "other.test");
  const auto server = library_server();
  const HandshakeResult outcome = shake_hands(*client, *server);
  REQUIRE(outcome.client_error);
  CHECK(outcome.client_error->code == Errc::certificate);
  CHECK(outcome.client_error->reason ==
        "name mismatch: wanted other.test, got localhost, mail.test, 127.0.0.1, ::1");
  CHECK(has(outcome.client_error->evidence, "subject=\"CN=mail.test\""));
  CHECK_FALSE(client->engine().established());
  REQUIRE(outcome.server_error);
  CHECK(outcome.server_error->reason == "SSLV3_ALERT_BAD_CERTIFICATE");
  CHECK(ERR_peek_error() == 0);
}

TEST_CASE("engine: an expired server is refused, and gets an alert", "[tls][security][X4]") {
  auto options = server_options();
  options.not_before = std::chrono::hours{-48};
  options.not_after = std::chrono::hours{-24};
  for (const std::uint16_t version : {kTls1_2, kTls1_3}) {
    const auto client = client_end();
    const auto server = library_server({.max_version = version}, test_pki().ca.issue(options));
    const HandshakeResult outcome = shake_hands(*client, *server);
    REQUIRE(outcome.client_error);
    CHECK(outcome.client_error->code == Errc::certificate);
    CHECK(outcome.client_error->reason == "certificate has expired");
    REQUIRE(outcome.server_error);
    CHECK(outcome.server_error->reason == "SSLV3_ALERT_CERTIFICATE_EXPIRED");
  }
}

TEST_CASE("engine: a self-signed server and one of an unknown CA are refused",
          "[tls][security][X1][X2]") {
  const auto self_signed = pki::Identity::self_signed(server_options());
  const auto client = client_end();
  const auto server = library_server({}, self_signed);
  CHECK(client_failure(*client, *server, Errc::certificate) == "self-signed certificate");

  const auto stranger = pki::Identity::self_signed({.common_name = "stranger", .ca = true});
  const auto client2 = client_end();
  const auto server2 = library_server({}, stranger.issue(server_options()));
  CHECK(client_failure(*client2, *server2, Errc::certificate) == "unknown CA");
}

TEST_CASE("engine: without verification any server is accepted, and remembered", "[tls][X20]") {
  const auto client =
      client_end(client_context({.verification = Verification::none}), "other.test");
  const auto server = library_server({}, pki::Identity::self_signed(server_options()));
  REQUIRE(shake_hands(*client, *server).done);
  CHECK(client->engine().facts().unverified_subject == "CN=mail.test");
}

TEST_CASE("engine: the configured name is sent, addresses are not", "[tls][security][L10]") {
  const auto context = client_context();
  const auto sent = [&](const std::string& name) {
    const auto client = client_end(context, name);
    const auto server = library_server();
    CHECK(shake_hands(*client, *server).done);
    return server->server_name();
  };
  CHECK(sent("mail.test") == "mail.test");
  CHECK(sent("mail.test.") == "mail.test");
  CHECK(sent("127.0.0.1") == "");
  CHECK(sent("::1") == "");
}

TEST_CASE("engine: full verification without a name is refused at once", "[tls][security][X9]") {
  CHECK_FALSE(Engine::client(client_context(), test::worker_pool(), ""));
  CHECK_FALSE(Engine::client(client_context(), test::worker_pool(), "."));
  CHECK_FALSE(Engine::client(client_context(), test::worker_pool(), std::string(300, 'a')));
  CHECK(Engine::client(client_context({.verification = Verification::none}), test::worker_pool(),
                       ""));
}

TEST_CASE("engine: a server's certificate is chosen by name, then by what the client supports",
          "[tls][L9]") {
  const auto& ca = test_pki().ca;
  const auto wildcard = ca.issue({.common_name = "wildcard", .dns_names = {"*.wild.test"}});
  const auto exact = ca.issue({.common_name = "exact", .dns_names = {"a.wild.test"}});
  const auto context = server_context({test_pki().server_rsa, wildcard, exact, test_pki().server});
  const auto chosen = [&](LibraryOptions options) {
    const auto client = LibraryEnd::client(options);
    const auto server = server_end(context);
    CHECK(shake_hands(*client, *server).done);
    return client->peer_common_name();
  };
  CHECK(chosen({.server_name = "a.wild.test"}) == "exact");
  CHECK(chosen({.server_name = "A.WILD.test"}) == "exact");
  CHECK(chosen({.server_name = "b.wild.test"}) == "wildcard");
  CHECK(chosen({.max_version = TLS1_2_VERSION, .server_name = "b.wild.test"}) == "wildcard");

  const std::vector<std::uint16_t> rsa_only = {SSL_SIGN_RSA_PSS_RSAE_SHA256,
                                               SSL_SIGN_RSA_PKCS1_SHA256};
  for (const std::uint16_t version : {kTls1_2, kTls1_3}) {
    for (const std::string name : {"mail.test", "", "nobody.test", "x.a.wild.test"}) {
      INFO(name);
      CHECK(chosen({.max_version = version, .server_name = name}) == "mail.test");
      CHECK(chosen({.max_version = version, .verify_schemes = rsa_only, .server_name = name}) ==
            "mail.test RSA");
    }
  }
  // TLS 1.2 ties the certificate to the suite.
  CHECK(chosen({.max_version = TLS1_2_VERSION, .ciphers = kGcmSuite, .server_name = "mail.test"}) ==
        "mail.test RSA");
  CHECK(chosen({.max_version = TLS1_2_VERSION,
                .ciphers = "ECDHE-ECDSA-AES128-GCM-SHA256",
                .server_name = "mail.test"}) == "mail.test");
}

TEST_CASE("engine: the first certificate is the default", "[tls]") {
  const auto other = test_pki().ca.issue({.common_name = "other", .dns_names = {"other.test"}});
  const auto context = server_context({other, test_pki().server});
  const auto client = LibraryEnd::client({.server_name = "nobody.test"});
  const auto server = server_end(context);
  REQUIRE(shake_hands(*client, *server).done);
  CHECK(client->peer_common_name() == "other");
}

/// Seals a record of any type as the server of a TLS 1.2 session with AES-128-GCM (RFC 5288). No
/// library would send these.
std::string forge_tls12(SSL* server, std::uint8_t type, std::string_view plain,
                        std::uint64_t sequence) {
  // RFC 5246 §6.3: client_write_key, server_write_key (16 each), client_write_IV, server_write_IV
  // (4).
  std::uint8_t keys[40];
  REQUIRE(SSL_generate_key_block(server, keys, sizeof(keys)) == 1);
  const bssl::UniquePtr<EVP_AEAD_CTX> aead(
      EVP_AEAD_CTX_new(EVP_aead_aes_128_gcm(), keys + 16, 16, 16));
  std::uint8_t nonce[12];
  std::copy(keys + 36, keys + 40, nonce);
  std::uint8_t ad[13];
  for (unsigned i = 0; i < 8; ++i) {
    ad[i] = nonce[4 + i] = static_cast<std::uint8_t>(sequence >> (56 - 8 * i));
  }
  ad[8] = type;
  ad[9] = 3;
  ad[10] = 3;
  ad[11] = static_cast<std::uint8_t>(plain.size() >> 8U);
  ad[12] = static_cast<std::uint8_t>(plain.size());
  std::string sealed(plain.size() + 16, '\0');
  std::size_t size = 0;
  REQUIRE(EVP_AEAD_CTX_seal(aead.get(), reinterpret_cast<std::uint8_t*>(sealed.data()), &size,
                            sealed.size(), nonce, sizeof(nonce),
                            reinterpret_cast<const std::uint8_t*>(plain.data()), plain.size(), ad,
                            sizeof(ad)) == 1);
  const std::size_t length = 8 + size;
  std::string out = {static_cast<char>(type), 3, 3, static_cast<char>(length >> 8U),
                     static_cast<char>(length)};
  out.append(reinterpret_cast<const char*>(nonce + 4), 8);
  return out + sealed;
}

struct Tls12Session {
  std::unique_ptr<EngineEnd> client = client_end();
  std::unique_ptr<LibraryEnd> server =
      library_server({.max_version = TLS1_2_VERSION, .ciphers = kGcmSuite}, test_pki().server_rsa);

  Tls12Session() {
    REQUIRE(shake_hands(*client, *server).done);
    sequence = SSL_get_write_sequence(server->ssl());
  }
  std::string forge(std::uint8_t type, std::string_view plain) {
    return forge_tls12(server->ssl(), type, plain, sequence++);
  }
  std::uint64_t sequence = 0;
};

TEST_CASE("engine: renegotiation asked for by the server ends the connection",
          "[tls][security][L1]") {
  Tls12Session session;
  std::string data = session.forge(SSL3_RT_APPLICATION_DATA, "forged well");
  CHECK(session.client->receive(data).plain ==
        "forged well");  // so the next one is refused for its content
  std::string hello_request = session.forge(SSL3_RT_HANDSHAKE, std::string(4, '\0'));
  const auto received = session.client->receive(hello_request);
  REQUIRE(received.error);
  CHECK(received.error->reason == "TLS error: no renegotiation");
  CHECK(received.plain.empty());
}

TEST_CASE("engine: endless empty records and warnings end the connection", "[tls][security][L2]") {
  const auto survives = [](std::uint8_t type, const std::string& plain, int count) {
    Tls12Session session;
    std::string wire;
    for (int i = 0; i < count; ++i) wire += session.forge(type, plain);
    wire += session.forge(SSL3_RT_APPLICATION_DATA, "data");
    const auto received = session.client->receive(wire);
    return received.plain == "data";
  };
  CHECK(survives(SSL3_RT_APPLICATION_DATA, "", 10));
  CHECK_FALSE(survives(SSL3_RT_APPLICATION_DATA, "", 100));
  const std::string warning = {1, 90};  // user_canceled
  CHECK(survives(SSL3_RT_ALERT, warning, 2));
  CHECK_FALSE(survives(SSL3_RT_ALERT, warning, 20));
}

TEST_CASE("engine: key updates are handled silently, endless ones end the connection",
          "[tls][security][L2][M10]") {
  const auto client = client_end();
  const auto server = library_server();
  REQUIRE(shake_hands(*client, *server).done);
  const auto update = [&] {
    REQUIRE(SSL_key_update(server->ssl(), SSL_KEY_UPDATE_REQUESTED) == 1);
    SSL_write(server->ssl(), "", 0);
    return server->drain();
  };
  for (int i = 0; i < 100; ++i) {  // each is followed by data
    std::string wire = update();
    wire += server->seal("x");
    const auto received = client->receive(wire);
    REQUIRE_FALSE(received.error);
    CHECK(received.plain == "x");
    check_exchange(*client, *server, "y");  // carries our own update
  }
  std::string wire;
  for (int i = 0; i < 100; ++i) wire += update();
  const auto received = client->receive(wire);
  REQUIRE(received.error);
  CHECK(has(received.error->reason, "TLS error: too many "));
}

TEST_CASE("engine: the peer's alert is reported in words", "[tls]") {
  const auto client = client_end();
  const auto server = library_server();
  REQUIRE(shake_hands(*client, *server).done);
  SSL_send_fatal_alert(server->ssl(), SSL_AD_INTERNAL_ERROR);
  std::string wire = server->drain();
  const auto received = client->receive(wire);
  REQUIRE(received.error);
  CHECK(received.error->reason == "TLS alert from the peer: internal error (alert 80)");
}

TEST_CASE("engine: output that does not fit is an error, not half a record", "[tls]") {
  const auto client = client_end();
  const auto server = server_end();
  std::vector<std::byte> small(100);
  tls::WireOut out{small};
  const auto result = client->engine().handshake({}, out);
  REQUIRE_FALSE(result);
  CHECK(out.used == 0);
  CHECK(ERR_peek_error() == 0);

  const auto client2 = client_end();
  REQUIRE(shake_hands(*client2, *server).done);
  const std::string data = payload(200);
  tls::WireOut sealed{small};
  CHECK_FALSE(client2->engine().seal(std::as_bytes(std::span(data)), sealed));
  CHECK(sealed.used == 0);
  CHECK(ERR_peek_error() == 0);

  tls::WireOut none;
  tls::OpenedRecords opened;
  std::vector<std::byte> plain(tls::kMinPlainRoom);
  const auto opening = client2->engine().open(std::as_bytes(std::span("\x17\x03\x03\x7f\xff", 5)),
                                              plain, none, opened);
  REQUIRE_FALSE(opening);
  CHECK(has(opening.error().reason, "encrypted length too long"));
}

TEST_CASE("engine: garbage of any kind is an error, never a crash", "[tls][security]") {
  for (std::size_t seed = 0; seed < 200; ++seed) {
    const auto client = client_end();
    client_hello(*client);
    std::string in = payload(400 + seed).substr(seed);
    if (seed % 2 == 0) in = std::string("\x16\x03\x03\x01\x00", 5) + in;
    std::string out;
    const auto result = client->handshake(in, out);
    CHECK_FALSE(client->engine().established());
    if (!result) CHECK(result.error().code == Errc::handshake);
  }
}

TEST_CASE("engine: one context serves several threads", "[tls]") {
  const auto clients = client_context();
  const auto servers = server_context({test_pki().server, test_pki().server_rsa});
  std::atomic<int> done = 0;
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      for (int round = 0; round < 20; ++round) {
        EngineEnd client(std::move(*Engine::client(clients, test::worker_pool(), "mail.test")));
        EngineEnd server(std::move(*Engine::server(servers, test::worker_pool())));
        if (shake_hands(client, server).done) ++done;
      }
    });
  }
  for (auto& thread : threads) thread.join();
  CHECK(done == 80);
}

#ifdef STARTTLS_HAVE_MALLINFO
TEST_CASE("engine: an idle session holds at most 4 KB", "[tls][memory]") {
  const auto clients = client_context();
  const auto servers = server_context({test_pki().server});
  constexpr std::size_t kSessions = 200;
  std::vector<std::unique_ptr<EngineEnd>> kept;
  kept.reserve(kSessions);
  const auto measure = [&](bool keep_client) {
    kept.clear();
    std::size_t before = 0;
    for (std::size_t i = 0; i < kSessions + 10; ++i) {
      if (i == 10) {  // caches are warm
        kept.clear();
        before = mallinfo2().uordblks;
      }
      auto client = client_end(clients);
      auto server = server_end(servers);
      REQUIRE(shake_hands(*client, *server).done);
      check_exchange(*client, *server, payload(40000));
      check_exchange(*server, *client, payload(40000));
      kept.push_back(std::move(keep_client ? client : server));
    }
    return (mallinfo2().uordblks - before) / kSessions;
  };
  const std::size_t client_bytes = measure(true);
  const std::size_t server_bytes = measure(false);
  INFO("client " << client_bytes << ", server " << server_bytes);
  // The record layer of AWS-LC, which nothing uses by default, keeps more than BoringSSL's.
  const bool larger =
      record_codec() == RecordCodecChoice::library && tls::library_version().starts_with("AWS-LC");
  const std::size_t limit = larger ? 5120 : 4096;
  CHECK(client_bytes <= limit);
  CHECK(server_bytes <= limit);
}
#endif

}  // namespace
}  // namespace starttls
