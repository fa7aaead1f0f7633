#include <string>
#include <vector>

#include "tests/support/catch.h"
#include "tests/support/engines.h"

namespace starttls {
namespace {

using test::converse;
using test::HandshakeResult;
using test::LibraryEnd;
using test::LibraryOptions;
using test::server_context;
using test::server_end;
using test::shake_hands;
using test::test_pki;
using Ids = std::vector<std::string>;

/// Returns the protocol that a client with `client_ids` gets from a server with `server_ids`. "" =
/// nothing was selected.
std::string selected(const Ids& server_ids, const Ids& client_ids, std::uint16_t version) {
  const auto client =
      LibraryEnd::client({.min_version = version, .max_version = version, .alpn = client_ids});
  const auto server = server_end(server_context({test_pki().server}, {.alpn = server_ids}));
  converse(*client, *server);
  const std::uint8_t* data = nullptr;
  unsigned size = 0;
  SSL_get0_alpn_selected(client->ssl(), &data, &size);
  return {reinterpret_cast<const char*>(data), size};
}

TEST_CASE("alpn: the protocol's own identifiers are accepted", "[tls][L15]") {
  const auto version = GENERATE(std::uint16_t{TLS1_2_VERSION}, std::uint16_t{TLS1_3_VERSION});
  for (const auto* id : {"imap", "pop3", "managesieve", "nntp"}) {
    CAPTURE(id);
    CHECK(selected({id}, {id}, version) == id);
    CHECK(selected({id}, {"h2", id, "http/1.1"}, version) == id);
  }
  const Ids smtp = {"smtp", "esmtp"};
  CHECK(selected(smtp, {"smtp"}, version) == "smtp");
  CHECK(selected(smtp, {"esmtp"}, version) == "esmtp");
  CHECK(selected(smtp, {"esmtp", "smtp"}, version) == "smtp");  // our server's order decides
}

TEST_CASE("alpn: a client without a list is accepted", "[tls][L14]") {
  const auto version = GENERATE(std::uint16_t{TLS1_2_VERSION}, std::uint16_t{TLS1_3_VERSION});
  CHECK(selected({"imap"}, {}, version) == "");
}

TEST_CASE("alpn: a protocol without an identifier ignores all lists", "[tls][L15]") {
  const auto version = GENERATE(std::uint16_t{TLS1_2_VERSION}, std::uint16_t{TLS1_3_VERSION});
  CHECK(selected({}, {"h2", "http/1.1"}, version) == "");
}

TEST_CASE("alpn: a list without our identifier is refused with its alert", "[tls][security][L14]") {
  const auto version = GENERATE(std::uint16_t{TLS1_2_VERSION}, std::uint16_t{TLS1_3_VERSION});
  for (const Ids& offered : {Ids{"h2", "http/1.1"}, Ids{"imap"}, Ids{"SMTP"}, Ids{"smtp2"},
                             Ids{"smt"}, Ids{"smtp esmtp"}}) {
    CAPTURE(offered);
    const auto client =
        LibraryEnd::client({.min_version = version, .max_version = version, .alpn = offered});
    const auto server =
        server_end(server_context({test_pki().server}, {.alpn = {"smtp", "esmtp"}}));
    const HandshakeResult outcome = shake_hands(*client, *server);
    REQUIRE(outcome.client_error);
    CHECK(outcome.client_error->reason == "TLSV1_ALERT_NO_APPLICATION_PROTOCOL");
    REQUIRE(outcome.server_error);
    CHECK(outcome.server_error->code == Errc::handshake);
    CHECK(outcome.server_error->reason == "handshake failed: no application protocol");
  }
}

TEST_CASE("alpn: a session is resumed under the list it was made with", "[tls][security][L14]") {
  const auto version = GENERATE(std::uint16_t{TLS1_2_VERSION}, std::uint16_t{TLS1_3_VERSION});
  const auto context = server_context({test_pki().server}, {.alpn = {"smtp"}});
  LibraryOptions options{.min_version = version, .max_version = version, .alpn = {"smtp"}};
  const auto client = LibraryEnd::client(options);
  converse(*client, *server_end(context));
  options.session = client->session();
  const auto again = LibraryEnd::client(options);
  converse(*again, *server_end(context));
  CHECK(again->resumed());
  options.alpn = {"h2"};
  const auto other = LibraryEnd::client(options);
  const auto server = server_end(context);
  CHECK(shake_hands(*other, *server).server_error);
}

TEST_CASE("alpn: the proxy's client side sends no list", "[tls][L16]") {
  const auto client = test::client_end(test::client_context());
  std::string nothing;
  std::string hello;
  REQUIRE(client->handshake(nothing, hello));
  const auto server = LibraryEnd::server(test_pki().server, {});
  bool sent = false;
  SSL_CTX_set_alpn_select_cb(
      SSL_get_SSL_CTX(server->ssl()),
      [](SSL*, const std::uint8_t**, std::uint8_t*, const std::uint8_t*, unsigned,
         void* arg) -> int {
        *static_cast<bool*>(arg) = true;
        return SSL_TLSEXT_ERR_NOACK;
      },
      &sent);
  std::string out;
  REQUIRE(server->handshake(hello, out));
  CHECK_FALSE(sent);
}

}  // namespace
}  // namespace starttls
