// Client certificates: those that we ask for, and ours for servers that ask.

#include <string>

#include "tests/support/catch.h"
#include "tests/support/engines.h"

namespace starttls {
namespace {

using pki::Identity;
using std::chrono::hours;
using test::client_context;
using test::client_end;
using test::converse;
using test::HandshakeResult;
using test::lasting_file;
using test::LibraryEnd;
using test::LibraryOptions;
using test::server_context;
using test::server_end;
using test::shake_hands;
using test::test_pki;
using ContextPtr = std::shared_ptr<const tls::Context>;

pki::CertificateOptions device_options() {
  return {.common_name = "device 7", .usage = pki::Usage::client};
}

/// Returns a server that asks for certificates of the test CA.
ContextPtr strict_server() {
  return server_context({test_pki().server},
                        {.client_ca = lasting_file(test_pki().root.certificate_pem())});
}

struct Visit {
  std::unique_ptr<LibraryEnd> client;
  std::string refusal;  ///< "" if the client is accepted
  std::string evidence;
};

Visit visit(const ContextPtr& context, const LibraryOptions& options) {
  Visit out{LibraryEnd::client(options), "", ""};
  const auto server = server_end(context);
  CHECK(server->engine().refusal() == nullptr);
  // A refused client has a handshake too: the refusal is sent inside TLS.
  converse(*out.client, *server);
  if (const Error* error = server->engine().refusal()) {
    CHECK(error->code == Errc::certificate);
    out.refusal = error->reason;
    out.evidence = error->evidence;
  }
  CHECK(ERR_peek_error() == 0);
  return out;
}

/// Visits twice, with a full handshake and resumed. Returns the refusal.
std::string refusal(const ContextPtr& context, std::uint16_t version,
                    const std::optional<Identity>& device) {
  LibraryOptions options{.min_version = version, .max_version = version, .certificate = device};
  const Visit first = visit(context, options);
  CHECK_FALSE(first.client->resumed());
  options.session = first.client->session();
  const Visit second = visit(context, options);
  CHECK(second.client->resumed());
  CHECK(second.refusal == first.refusal);
  return first.refusal;
}

TEST_CASE("client certificate: the right certificate is accepted, whole handshake or resumed",
          "[tls][X15]") {
  const auto version = GENERATE(std::uint16_t{TLS1_2_VERSION}, std::uint16_t{TLS1_3_VERSION});
  const auto context = strict_server();
  CHECK(refusal(context, version, test_pki().ca.issue(device_options())) == "");
  auto options = device_options();
  options.usage = pki::Usage::unspecified;
  CHECK(refusal(context, version, test_pki().ca.issue(options)) == "");
  options.key = pki::KeyType::rsa_2048;
  CHECK(refusal(context, version, test_pki().ca.issue(options)) == "");
}

TEST_CASE(
    "client certificate: a missing or wrong certificate is refused inside TLS, also when resumed",
    "[tls][security][X15][L6]") {
  const auto version = GENERATE(std::uint16_t{TLS1_2_VERSION}, std::uint16_t{TLS1_3_VERSION});
  const auto context = strict_server();
  CHECK(refusal(context, version, std::nullopt) == "a client certificate is required");

  const auto stranger = Identity::self_signed({.common_name = "stranger", .ca = true});
  CHECK(refusal(context, version, stranger.issue(device_options())) ==
        "client certificate refused: unknown CA");
  CHECK(refusal(context, version, Identity::self_signed(device_options())) ==
        "client certificate refused: self-signed certificate");

  auto options = device_options();
  options.not_before = hours{-48};
  options.not_after = hours{-1};
  CHECK(refusal(context, version, test_pki().ca.issue(options)) ==
        "client certificate refused: certificate has expired");

  // A server's certificate, stolen or not, is no client certificate.
  CHECK(refusal(context, version, test_pki().server)
            .starts_with("client certificate refused: certificate is not acceptable: "));
  options = device_options();
  options.key = pki::KeyType::rsa_1024;
  CHECK(refusal(context, version, test_pki().ca.issue(options)) ==
        "client certificate refused: certificate key is too weak: RSA with 1024 bits");
}

TEST_CASE("client certificate: a refusal has subject, issuer and reason for the log",
          "[tls][security]") {
  auto options = device_options();
  options.common_name = "evil\r\n\"device";
  options.not_before = hours{-48};
  options.not_after = hours{-1};
  const auto out = visit(strict_server(), {.certificate = test_pki().ca.issue(options)});
  CHECK(out.evidence.find("issuer=\"CN=test CA\"") != std::string::npos);
  CHECK(out.evidence.find("reason=\"certificate has expired\"") != std::string::npos);
  CHECK(out.evidence.find('\n') == std::string::npos);
}

TEST_CASE("client certificate: without client_ca no certificate is requested", "[tls]") {
  const auto asks = [](const ContextPtr& context) {
    const auto client =
        LibraryEnd::client({.certificate = Identity::self_signed(device_options())});
    bool asked = false;
    const auto note = [](SSL*, void* arg) {
      *static_cast<bool*>(arg) = true;
      return 1;
    };
    SSL_set_cert_cb(client->ssl(), note, &asked);
    const auto server = server_end(context);
    converse(*client, *server);
    CHECK((server->engine().refusal() != nullptr) == asked);
    return asked;
  };
  CHECK_FALSE(asks(server_context({test_pki().server})));
  CHECK(asks(strict_server()));
}

TEST_CASE("client certificate: the proxy's certificate is sent to a server that asks", "[tls]") {
  const auto version = GENERATE(std::uint16_t{TLS1_2_VERSION}, std::uint16_t{TLS1_3_VERSION});
  const test::PkiFolder folder;
  const auto own = folder.write("own", test_pki().ca.issue(device_options()));
  const auto context = client_context({.certificate = own});
  const LibraryOptions strict{
      .min_version = version, .max_version = version, .asks_for_certificate = true};
  for (int i = 0; i < 2; ++i) {
    const auto client = client_end(context, "mail.test", "");
    const auto server = LibraryEnd::server(test_pki().server, strict);
    converse(*client, *server);
    CHECK(server->peer_common_name() == "device 7");
  }
  // A server that does not ask does not see the certificate.
  const auto client = client_end(context);
  const auto server = LibraryEnd::server(test_pki().server, {});
  converse(*client, *server);
  CHECK(server->peer_common_name() == "");
}

TEST_CASE("client certificate: two proxies accept each other's certificates, also when resumed",
          "[tls]") {
  const test::PkiFolder folder;
  const auto clients =
      client_context({.certificate = folder.write("own", test_pki().ca.issue(device_options()))});
  const auto servers = strict_server();
  for (int i = 0; i < 3; ++i) {
    const auto client = client_end(clients);
    const auto server = server_end(servers);
    converse(*client, *server);
    CHECK(server->engine().refusal() == nullptr);
    CHECK(server->engine().facts().resumed == (i > 0));
  }
}

TEST_CASE("client certificate: a server that demands a missing certificate gives a reason",
          "[tls][security][X19]") {
  const auto context = client_context();
  // TLS 1.2: during the handshake.
  {
    const auto client = client_end(context);
    const auto server = LibraryEnd::server(
        test_pki().server, {.max_version = TLS1_2_VERSION, .asks_for_certificate = true});
    const HandshakeResult outcome = shake_hands(*client, *server);
    REQUIRE(outcome.client_error);
    CHECK(outcome.client_error->code == Errc::handshake);
    CHECK(outcome.client_error->reason ==
          "the server refused the handshake: handshake failure "
          "(alert 40)");
  }
  // TLS 1.3: for the client the handshake is already over (RFC 8446 §4.4.2.4).
  const auto client = client_end(context);
  const auto server = LibraryEnd::server(test_pki().server, {.asks_for_certificate = true});
  std::string hello;
  std::string flight;
  std::string finished;
  std::string alert;
  REQUIRE(client->handshake(flight, hello));
  REQUIRE(server->handshake(hello, flight));
  REQUIRE(client->handshake(flight, finished));
  REQUIRE(client->engine().established());
  CHECK_FALSE(server->handshake(finished, alert));
  const auto received = client->receive(alert);
  REQUIRE(received.error);
  CHECK(received.error->code == Errc::tls);
  CHECK(received.error->reason == "TLS alert from the peer: certificate required (alert 116)");
}

TEST_CASE("client certificate: the proxy's certificate needs its key, and the CA file must parse",
          "[tls]") {
  const test::PkiFolder folder;
  const auto one = folder.write("one", test_pki().ca.issue(device_options()));
  const auto two = folder.write("two", test_pki().ca.issue(device_options()));
  const auto mixed = tls::Context::client(
      {.verification = Verification::none, .certificate = ChainAndKey{one.chain, two.key}});
  REQUIRE_FALSE(mixed);
  CHECK(mixed.error().reason ==
        two.key + ": the key does not belong to the first certificate of " + one.chain);
  const auto server = tls::Context::server(
      {.certificates = {one}, .client_ca = folder.write("ca.pem", "nothing", 0644)});
  REQUIRE_FALSE(server);
  CHECK(server.error().reason == folder.file("ca.pem") + ": holds no certificate");
}

/// Returns the facts that a server has about such a visit.
tls::ClientFacts facts(const ContextPtr& context, const LibraryOptions& options) {
  const auto client = LibraryEnd::client(options);
  const auto server = server_end(context);
  CHECK(server->engine().client_facts() == tls::ClientFacts{});  // not known yet
  converse(*client, *server);
  CHECK(server->engine().wanted_name() == server->engine().client_facts().server_name);
  return server->engine().client_facts();
}

TEST_CASE("client facts: requested name, ALPN, cipher and certificate are known, also when resumed",
          "[tls]") {
  const auto version = GENERATE(std::uint16_t{TLS1_2_VERSION}, std::uint16_t{TLS1_3_VERSION});
  const auto context = server_context(
      {test_pki().server},
      {.client_ca = lasting_file(test_pki().root.certificate_pem()), .alpn = {"smtp"}});
  LibraryOptions options{.min_version = version,
                         .max_version = version,
                         .server_name = "mail.test",
                         .alpn = {"smtp"},
                         .certificate = test_pki().ca.issue(device_options())};
  const auto first = LibraryEnd::client(options);
  const auto server = server_end(context);
  converse(*first, *server);
  for (SSL_SESSION* session : {static_cast<SSL_SESSION*>(nullptr), first->session()}) {
    options.session = session;
    const auto told = facts(context, options);
    CHECK(told.server_name == "mail.test");
    CHECK(told.alpn == "smtp");
    CHECK(told.cipher.find(version == TLS1_2_VERSION ? "ECDHE-ECDSA-" : "TLS_") == 0);
    CHECK(told.has_certificate);
    CHECK(told.common_name == "device 7");
    CHECK(told.subject == "CN=device 7");
  }
}

TEST_CASE("client facts: a certificate that was not requested or not accepted is not reported",
          "[tls]") {
  LibraryOptions options{.certificate = test_pki().ca.issue(device_options())};
  const auto unasked = facts(server_context({test_pki().server}), options);
  CHECK_FALSE(unasked.has_certificate);
  CHECK(unasked.common_name == "");
  CHECK(unasked.subject == "");
  CHECK(unasked.server_name == "");
  CHECK(unasked.alpn == "");

  options.certificate = Identity::self_signed(device_options());
  const auto refused = facts(strict_server(), options);
  CHECK_FALSE(refused.has_certificate);
  CHECK(refused.common_name == "");
  CHECK(refused.subject == "");
}

}  // namespace
}  // namespace starttls
