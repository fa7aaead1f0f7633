// Pins of public keys (RFC 7469 §2.4), alone and on top of full verification.

#include <string>
#include <vector>

#include "tests/support/catch.h"
#include "tests/support/engines.h"

namespace starttls {
namespace {

using pki::Identity;
using test::client_context;
using test::client_end;
using test::converse;
using test::LibraryEnd;
using test::server_options;
using test::shake_hands;
using test::test_pki;
using tls::ClientOptions;

/// Returns the pin, computed in another way than in lib/tls.
Pin pin_of(const Identity& identity) {
  const std::string pem = identity.certificate_pem();
  const bssl::UniquePtr<BIO> bio(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())));
  const bssl::UniquePtr<X509> certificate(PEM_read_bio_X509(bio.get(), nullptr, nullptr, nullptr));
  const bssl::UniquePtr<EVP_PKEY> key(X509_get_pubkey(certificate.get()));
  std::uint8_t* der = nullptr;
  const int size = i2d_PUBKEY(key.get(), &der);
  REQUIRE(size > 0);
  const bssl::UniquePtr<std::uint8_t> owner(der);
  Pin out;
  SHA256(der, static_cast<std::size_t>(size), out.bytes.data());
  return out;
}

Pin nobodys(std::uint8_t byte) {
  Pin out;
  out.bytes.fill(byte);
  return out;
}

/// Returns the reason of the refusal. "" if the server is accepted, both the first time and the
/// second time (resumed).
std::string refusal(const ClientOptions& options, const Identity& identity = test_pki().server,
                    const std::string& name = "mail.test") {
  const auto context = client_context(options);
  std::string out;
  for (int i = 0; i < 2; ++i) {
    const auto client = client_end(context, name);
    const auto server = LibraryEnd::server(identity, {});
    const auto outcome = shake_hands(*client, *server);
    if (!outcome.client_error) continue;
    CHECK(outcome.client_error->code == Errc::certificate);
    REQUIRE(outcome.server_error);  // the server got an alert
    CHECK(outcome.server_error->reason.find("ALERT") != std::string::npos);
    out = outcome.client_error->reason;
    CHECK(i == 0);
    break;
  }
  return out;
}

TEST_CASE("pins: the right key is accepted with any verification", "[tls]") {
  for (const Identity& identity : {test_pki().server, test_pki().server_rsa}) {
    const Pin pin = pin_of(identity);
    CHECK(refusal({.pins = {pin}}, identity) == "");
    CHECK(refusal({.verification = Verification::none, .pins = {pin}}, identity) == "");
  }
}

TEST_CASE("pins: another key is refused with any verification, and both are reported",
          "[tls][security]") {
  const std::string told = "pin mismatch: wanted " + to_string(nobodys(1)) + ", got " +
                           to_string(pin_of(test_pki().server));
  CHECK(refusal({.pins = {nobodys(1)}}) == told);
  CHECK(refusal({.verification = Verification::none, .pins = {nobodys(1)}}) == told);
  CHECK(refusal({.pins = {pin_of(test_pki().server_rsa)}}).starts_with("pin mismatch: "));
}

TEST_CASE("pins: one of several pins is enough", "[tls][security]") {
  const Pin right = pin_of(test_pki().server);
  for (const auto verification : {Verification::full, Verification::none}) {
    CHECK(refusal({.verification = verification, .pins = {nobodys(1), right, nobodys(2)}}) == "");
    CHECK(refusal({.verification = verification, .pins = {nobodys(1), nobodys(2), nobodys(3)}})
              .starts_with("pin mismatch: wanted " + to_string(nobodys(1)) + " or 2 more, got "));
  }
}

TEST_CASE("pins: with full verification a CA on the path may be the pinned one", "[tls]") {
  CHECK(refusal({.pins = {pin_of(test_pki().ca)}}) == "");
  CHECK(refusal({.pins = {pin_of(test_pki().root)}}) == "");
}

TEST_CASE("pins: a CA outside the path does not count", "[tls][security]") {
  // The server belongs to another CA, which we trust for this server. The pinned CA is not part of
  // its path, even if the server sends it along.
  const auto other_root = Identity::self_signed({.common_name = "other root", .ca = true});
  const auto options = ClientOptions{
      .ca_file =
          test::lasting_file(test_pki().root.certificate_pem() + other_root.certificate_pem()),
      .pins = {pin_of(test_pki().ca)}};
  CHECK(refusal(options) == "");
  CHECK(refusal(options, other_root.issue(server_options())).starts_with("pin mismatch: "));
}

TEST_CASE("pins: without verification only the leaf's key counts", "[tls][security]") {
  // Any server can send a CA's certificate after its own leaf.
  for (const Identity& above : {test_pki().ca, test_pki().root}) {
    CHECK(refusal({.verification = Verification::none, .pins = {pin_of(above)}})
              .starts_with("pin mismatch: "));
  }
}

TEST_CASE("pins: they do not replace the checks of chain and name", "[tls][security]") {
  const auto self_signed = Identity::self_signed(server_options());
  CHECK(refusal({.pins = {pin_of(self_signed)}}, self_signed) == "self-signed certificate");
  CHECK(refusal({.pins = {pin_of(test_pki().server)}}, test_pki().server, "other.test")
            .starts_with("name mismatch: "));
  // Without verification only the pins decide: self-signed, another name and expired are all
  // accepted.
  CHECK(refusal({.verification = Verification::none, .pins = {pin_of(self_signed)}}, self_signed,
                "other.test") == "");
  auto old = server_options();
  old.not_before = std::chrono::hours{-48};
  old.not_after = std::chrono::hours{-1};
  const auto ended = test_pki().ca.issue(old);
  CHECK(refusal({.verification = Verification::none, .pins = {pin_of(ended)}}, ended) == "");
  CHECK(refusal({.pins = {pin_of(ended)}}, ended) == "certificate has expired");
}

TEST_CASE("pins: probe shows the pin to configure", "[tls]") {
  const auto client = client_end(client_context({.verification = Verification::none}));
  client->engine().keep_peer_chain();
  const auto server = LibraryEnd::server(test_pki().server, {});
  converse(*client, *server);
  const auto& chain = client->engine().peer_chain();
  REQUIRE(chain.size() == 2);
  CHECK(chain[0].pin == to_string(pin_of(test_pki().server)));
  CHECK(chain[1].pin == to_string(pin_of(test_pki().ca)));
  CHECK(chain[0].subject == "CN=mail.test");
  CHECK(chain[0].issuer == "CN=test CA");
  CHECK(texts(chain[0].names) ==
        std::vector<std::string>{"localhost", "mail.test", "127.0.0.1", "::1"});
  CHECK(chain[0].key == "ECDSA 256");
  const auto now = UnixTime::of(std::chrono::system_clock::now());
  REQUIRE(chain[0].not_after.has_value());
  CHECK(chain[0].not_after->since_1970 - now.since_1970 > std::chrono::hours{24 * 29});
  REQUIRE(chain[0].not_before.has_value());
  CHECK(*chain[0].not_before < now);
}

}  // namespace
}  // namespace starttls
