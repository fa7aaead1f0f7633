#include "lib/tls/client_facts.h"

#include <string>
#include <utility>

#include "tests/support/catch.h"
#include "tests/support/engines.h"

namespace starttls {
namespace {

using test::converse;
using test::LibraryEnd;
using test::server_context;
using test::server_end;
using test::test_pki;
using tls::ClientFacts;
using tls::ClientFactsStore;

TEST_CASE("client facts: equal ones are stored once, and dropped with the last session", "[tls]") {
  ClientFactsStore store;
  ClientFacts facts;
  facts.server_name = "mail.test";
  auto one = store.share(facts);
  {
    const auto same = store.share(facts);
    CHECK(&same.get() == &one.get());
    facts.subject = "CN=device 7";
    const auto other = store.share(facts);
    CHECK(other.get().subject == "CN=device 7");
    CHECK(store.size() == 2);
  }
  CHECK(store.size() == 1);
  const auto moved = std::move(one);
  CHECK(moved.get().server_name == "mail.test");
  CHECK(store.size() == 1);
  one = {};
  CHECK(one.get() == ClientFacts{});
}

TEST_CASE("client facts: sessions of one context share them", "[tls]") {
  const auto context = server_context({test_pki().server});
  const auto facts_of_one = [&context](auto& server) -> const ClientFacts& {
    const auto client = LibraryEnd::client({.server_name = "mail.test"});
    server = server_end(context);
    converse(*client, *server);
    return server->engine().client_facts();
  };
  decltype(server_end(context)) one;
  decltype(server_end(context)) other;
  CHECK(&facts_of_one(one) == &facts_of_one(other));
  CHECK(one->engine().client_facts().server_name == "mail.test");
}

TEST_CASE("client facts: the name wanted is known after a handshake that failed", "[tls]") {
  const auto client = LibraryEnd::client({.server_name = "mail.test"});
  const auto server = server_end(server_context({test_pki().server}));
  CHECK(server->engine().wanted_name() == "");
  std::string nothing;
  std::string hello;
  std::string answer;
  REQUIRE(client->handshake(nothing, hello));
  REQUIRE(server->handshake(hello, answer));
  CHECK(server->engine().wanted_name() == "mail.test");
  std::string garbage = "this is no record of TLS";
  REQUIRE_FALSE(server->handshake(garbage, answer));
  CHECK(server->engine().wanted_name() == "mail.test");
  CHECK(server->engine().client_facts() == ClientFacts{});
}

}  // namespace
}  // namespace starttls
