// The keys that a peer may have, and the signatures that its handshake may have (RFC 9155, RFC
// 9325).

#include <cstdint>
#include <string>
#include <vector>

#include "tests/support/catch.h"
#include "tests/support/engines.h"

namespace starttls {
namespace {

using pki::KeyType;
using test::client_context;
using test::client_end;
using test::LibraryEnd;
using test::LibraryOptions;
using test::server_context;
using test::server_end;
using test::shake_hands;
using test::test_pki;

constexpr std::uint16_t kTls1_2 = TLS1_2_VERSION;
constexpr std::uint16_t kTls1_3 = TLS1_3_VERSION;

LibraryOptions only_version(std::uint16_t version) {
  return {.min_version = version, .max_version = version};
}

/// Returns both ends' errors, or "" if the handshake succeeds.
std::string failure(test::TlsEnd& client, test::TlsEnd& server) {
  const auto outcome = shake_hands(client, server);
  if (outcome.done) return "";
  const auto why = [](const std::optional<Error>& error) { return error ? error->reason : "none"; };
  return "client: " + why(outcome.client_error) + ", server: " + why(outcome.server_error);
}

std::shared_ptr<const tls::Context> asking_server() {
  return server_context({test_pki().server},
                        {.client_ca = test::lasting_file(test_pki().root.certificate_pem())});
}

TEST_CASE("peer keys: a server and its CA may have any good kind of key", "[tls][T8]") {
  const auto key = GENERATE(KeyType::ecdsa_p256, KeyType::ecdsa_p384, KeyType::ecdsa_p521,
                            KeyType::ed25519, KeyType::rsa_2048);
  const std::uint16_t version = GENERATE(kTls1_2, kTls1_3);
  CAPTURE(static_cast<int>(key), version);
  const auto root = pki::Identity::self_signed({.common_name = "root", .key = key, .ca = true});
  auto options = test::server_options();
  options.key = key;
  const auto identity = root.issue(options);
  for (const auto verification : {Verification::full, Verification::none}) {
    CAPTURE(static_cast<int>(verification));
    const auto client = client_end(client_context(
        {.verification = verification, .ca_file = test::lasting_file(root.certificate_pem())}));
    const auto server = LibraryEnd::server(identity, only_version(version));
    CHECK(failure(*client, *server) == "");
  }
}

TEST_CASE("peer keys: a client may have any good kind of key", "[tls][T8]") {
  const auto key = GENERATE(KeyType::ecdsa_p256, KeyType::ecdsa_p384, KeyType::ecdsa_p521,
                            KeyType::ed25519, KeyType::rsa_2048);
  const std::uint16_t version = GENERATE(kTls1_2, kTls1_3);
  CAPTURE(static_cast<int>(key), version);
  auto options = only_version(version);
  options.certificate =
      test_pki().ca.issue({.common_name = "device", .key = key, .usage = pki::Usage::client});
  const auto client = LibraryEnd::client(options);
  const auto server = server_end(asking_server());
  CHECK(failure(*client, *server) == "");
  CHECK(server->engine().refusal() == nullptr);
}

TEST_CASE("peer keys: a weak key is refused with TLS 1.2 and 1.3", "[tls][T8][security]") {
  const std::uint16_t version = GENERATE(kTls1_2, kTls1_3);
  auto options = test::server_options();
  options.key = KeyType::rsa_1024;
  const auto client = client_end(client_context());
  const auto server = LibraryEnd::server(test_pki().ca.issue(options), only_version(version));
  CHECK(failure(*client, *server)
            .starts_with("client: certificate key is too weak: RSA with 1024 bits"));
}

TEST_CASE("peer keys: no peer signs its handshake with SHA-1", "[tls][S11][security]") {
  const std::vector<std::uint16_t> sha1 = {SSL_SIGN_RSA_PKCS1_SHA1, SSL_SIGN_ECDSA_SHA1};
  const auto key = GENERATE(KeyType::ecdsa_p256, KeyType::rsa_2048);
  CAPTURE(static_cast<int>(key));
  auto options = only_version(kTls1_2);
  options.signing_schemes = sha1;
  SECTION("a server, verified or not") {
    auto certificate = test::server_options();
    certificate.key = key;
    const auto identity = test_pki().ca.issue(certificate);
    const auto verification = GENERATE(Verification::full, Verification::none);
    const auto client = client_end(client_context({.verification = verification}));
    const auto server = LibraryEnd::server(identity, options);
    CHECK(failure(*client, *server) != "");
    // The key itself is accepted.
    const auto again = client_end(client_context({.verification = verification}));
    CHECK(failure(*again, *LibraryEnd::server(identity, only_version(kTls1_2))) == "");
  }
  SECTION("a client") {
    options.certificate =
        test_pki().ca.issue({.common_name = "device", .key = key, .usage = pki::Usage::client});
    const auto client = LibraryEnd::client(options);
    const auto server = server_end(asking_server());
    CHECK(failure(*client, *server) != "");
  }
}

}  // namespace
}  // namespace starttls
