#include "lib/session/client/identity.h"

#include <string>
#include <string_view>

#include "lib/net/address.h"
#include "tests/support/catch.h"

using namespace starttls;
using namespace starttls::session;
using namespace std::string_literals;

namespace {

config::Service settings(std::string_view balancers, std::string_view allowed = {}) {
  config::Service out;
  if (!balancers.empty()) out.downstream.proxy_protocol = {*config::parse_network(balancers)};
  if (!allowed.empty()) out.downstream.allow = {*config::parse_network(allowed)};
  return out;
}

net::SocketAddress peer(const std::string& host) {
  return *net::parse_ip(host, 4711);
}

std::string address_of(const ClientIdentity& identity) {
  return net::to_string(net::socket_address(*identity.address()));
}

const std::string kHeader = "PROXY TCP4 192.0.2.7 198.51.100.1 1025 25\r\n";
const std::string kSignature = "\r\n\r\n\0\r\nQUIT\n"s;
const std::string kLocal = kSignature + "\x20\0\0\0"s;

}  // namespace

TEST_CASE("client identity: without balancers every header is refused", "[session][security]") {
  for (const std::string& header : {kHeader, kLocal}) {
    ClientIdentity identity(settings(""), peer("10.0.0.1"));
    CHECK_FALSE(identity.awaits_header());
    CHECK(identity.look(header).error().code == Errc::not_allowed);
    CHECK(address_of(identity) == "10.0.0.1:4711");
  }
}

TEST_CASE("client identity: the first bytes are not inspected if a header does no harm",
          "[session]") {
  auto implicit = settings("");
  implicit.downstream.tls = TlsMode::implicit;  // the bytes are no ClientHello
  CHECK_FALSE(ClientIdentity(implicit, peer("10.0.0.1")).is_watching());
  auto relay = settings("");
  relay.upstream.tls = TlsMode::none;  // the server has to understand the bytes
  CHECK_FALSE(ClientIdentity(relay, peer("10.0.0.1")).is_watching());
  relay.downstream.proxy_protocol = {*config::parse_network("192.0.2.0/24")};
  CHECK(ClientIdentity(relay, peer("10.0.0.1")).is_watching());
}

TEST_CASE("client identity: a balancer's header names the client, at every split", "[session]") {
  for (const std::string behind : {"", "EHLO a.example\r\n", "\x16\x03\x01"}) {
    const std::string all = kHeader + behind;
    for (std::size_t split = 0; split <= all.size(); ++split) {
      ClientIdentity identity(settings("10.0.0.0/8"), peer("10.0.0.1"));
      CHECK(identity.awaits_header());
      std::size_t consumed = 0;
      for (const auto& piece : {all.substr(0, split), all.substr(split)}) {
        if (!identity.is_watching()) break;
        const auto step = identity.look(piece);
        REQUIRE(step);
        consumed += *step;
      }
      CHECK(consumed == kHeader.size());
      CHECK_FALSE(identity.awaits_header());
      CHECK(identity.is_watching() == behind.empty());  // a second header may come next
      CHECK(identity.is_conveyed());
      CHECK(address_of(identity) == "192.0.2.7:1025");
      CHECK(net::to_string(net::socket_address(*identity.destination())) == "198.51.100.1:25");
    }
  }
}

TEST_CASE("client identity: a balancer that begins with something else is refused", "[session]") {
  ClientIdentity identity(settings("10.0.0.0/8"), peer("10.0.0.1"));
  const auto step = identity.look("EHLO a.example\r\n");
  REQUIRE_FALSE(step);
  CHECK(step.error().code == Errc::not_allowed);
  CHECK(step.error().evidence == "E");
}

TEST_CASE("client identity: a header from any other client is refused, at every split",
          "[session]") {
  for (const std::string& header : {kHeader, kLocal}) {
    for (std::size_t split = 0; split <= header.size(); ++split) {
      ClientIdentity identity(settings("10.0.0.0/8"), peer("192.0.2.1"));
      CHECK_FALSE(identity.awaits_header());
      const auto first = identity.look(header.substr(0, split));
      const auto step = first ? identity.look(header.substr(split)) : first;
      REQUIRE_FALSE(step);
      CHECK(step.error().code == Errc::not_allowed);
      CHECK(address_of(identity) == "192.0.2.1:4711");
    }
  }
}

TEST_CASE("client identity: a client that begins with a command is not inspected further",
          "[session]") {
  ClientIdentity identity(settings("10.0.0.0/8"), peer("192.0.2.1"));
  REQUIRE(identity.look("P"));
  CHECK(identity.is_watching());
  const auto step = identity.look("ASS x\r\n");
  REQUIRE(step);
  CHECK(*step == 0);
  CHECK_FALSE(identity.is_watching());
}

TEST_CASE("client identity: a second header is refused, at every split", "[session][security]") {
  for (const std::string& second : {kHeader, kLocal}) {
    const std::string both = kHeader + second;
    for (std::size_t split = 0; split <= both.size(); ++split) {
      ClientIdentity identity(settings("10.0.0.0/8"), peer("10.0.0.1"));
      const auto first = identity.look(both.substr(0, split));
      const auto step = first ? identity.look(both.substr(split)) : first;
      REQUIRE_FALSE(step);
      CHECK(step.error().code == Errc::not_allowed);
      CHECK(step.error().reason == "the connection has a second PROXY header");
    }
  }
}

TEST_CASE("client identity: the allow list applies to the conveyed client", "[session]") {
  const auto rules = settings("10.0.0.0/8", "192.0.2.0/24");
  const auto checked = [&rules](const std::string& header) {
    ClientIdentity identity(rules, peer("10.0.0.1"));
    REQUIRE(identity.look(header));
    return identity.check(rules.downstream).has_value();
  };
  CHECK(checked(kHeader));
  CHECK_FALSE(checked("PROXY TCP4 203.0.113.7 198.51.100.1 1025 25\r\n"));
  // UNKNOWN does not name the client, and the balancer's own address is not allowed.
  CHECK_FALSE(checked("PROXY UNKNOWN\r\n"));
  CHECK(checked(kLocal));

  const ClientIdentity direct(rules, peer("192.0.2.9"));
  CHECK(direct.check(rules.downstream));
  const ClientIdentity stranger(rules, peer("203.0.113.9"));
  CHECK(stranger.check(rules.downstream).error().code == Errc::not_allowed);
}

TEST_CASE("client identity: a client of a unix socket has no address, and no header", "[session]") {
  const auto rules = settings("0.0.0.0/0", "192.0.2.0/24");
  net::SocketAddress nobody;
  nobody.storage.ss_family = AF_UNIX;
  nobody.size = sizeof(sa_family_t);
  ClientIdentity identity(rules, nobody);
  CHECK_FALSE(identity.address());
  CHECK_FALSE(identity.awaits_header());
  CHECK(identity.check(rules.downstream));
  CHECK(identity.look(kHeader).error().code == Errc::not_allowed);
}

TEST_CASE("client identity: an IPv4 client of a socket of both families is IPv4", "[session]") {
  const ClientIdentity identity(settings(""), *net::parse_ip("::ffff:192.0.2.3", 99));
  CHECK(address_of(identity) == "192.0.2.3:99");
}

TEST_CASE("client identity: a client without a known address is refused", "[session][security]") {
  const auto rules = settings("", "0.0.0.0/0");
  CHECK(ClientIdentity(rules, net::SocketAddress{}).check(rules.downstream).error().code ==
        Errc::not_allowed);
}
