#include "lib/session/client/admission.h"

#include <string>

#include "lib/net/address.h"
#include "tests/support/catch.h"

using namespace starttls;
using namespace starttls::session;

namespace {

const std::string kBalancersHeader = "PROXY TCP4 192.0.2.7 198.51.100.1 1025 25\r\n";

config::Service service_with(TlsMode downstream) {
  config::Service out;
  out.name = "mail";
  out.downstream.tls = downstream;
  return out;
}

net::SocketAddress client_at(const std::string& host) {
  return *net::parse_ip(host, 4711);
}

}  // namespace

TEST_CASE("admission: a client without a header is admitted at once", "[session]") {
  ClientTable clients;
  for (const auto mode : {TlsMode::none, TlsMode::starttls, TlsMode::implicit}) {
    const auto service = service_with(mode);
    Admission admission(service, client_at("10.0.0.1"), clients);
    CHECK(admission.begin().value() == Admitted::yes);
    CHECK(clients.addresses() == 1);
  }
  CHECK(clients.addresses() == 0);  // the place is free again
}

TEST_CASE("admission: a balancer's client is known at the end of the header, at every split",
          "[session]") {
  ClientTable clients;
  auto service = service_with(TlsMode::starttls);
  service.downstream.proxy_protocol = {*config::parse_network("10.0.0.0/8")};
  const std::string all = kBalancersHeader + "EHLO a.example\r\n";
  for (std::size_t split = 0; split <= all.size(); ++split) {
    Admission admission(service, client_at("10.0.0.1"), clients);
    REQUIRE(admission.begin().value() == Admitted::not_yet);
    CHECK(clients.addresses() == 0);
    std::size_t header = 0;
    auto admitted = Admitted::not_yet;
    for (const auto& part : {all.substr(0, split), all.substr(split)}) {
      if (part.empty() || !admission.is_watching()) continue;
      const auto step = admission.look(part);
      REQUIRE(step);
      header += step->header;
      admitted = step->admitted;
    }
    CHECK(header == kBalancersHeader.size());
    CHECK(admitted == Admitted::yes);
    CHECK(clients.addresses() == 1);
    CHECK(admission.identity().is_conveyed());
  }
}

TEST_CASE("admission: the allow list applies to the client in the header, not to the balancer",
          "[session][security]") {
  ClientTable clients;
  auto service = service_with(TlsMode::starttls);
  service.downstream.proxy_protocol = {*config::parse_network("10.0.0.0/8")};
  service.downstream.allow = {*config::parse_network("10.0.0.0/8")};
  Admission admission(service, client_at("10.0.0.1"), clients);
  REQUIRE(admission.begin().value() == Admitted::not_yet);
  CHECK(admission.look(kBalancersHeader).error().code == Errc::not_allowed);
  CHECK(clients.addresses() == 0);
}

TEST_CASE("admission: with implicit TLS the first bytes are inspected before the handshake",
          "[session][security]") {
  ClientTable clients;
  auto service = service_with(TlsMode::implicit);
  service.downstream.proxy_protocol = {*config::parse_network("192.0.2.0/24")};
  {
    Admission admission(service, client_at("10.0.0.1"), clients);
    REQUIRE(admission.begin().value() == Admitted::not_yet);
    CHECK(admission.look("\x16\x03\x01").value().admitted == Admitted::yes);
  }
  Admission admission(service, client_at("10.0.0.1"), clients);
  REQUIRE(admission.begin().value() == Admitted::not_yet);
  CHECK(admission.look(kBalancersHeader).error().code == Errc::not_allowed);
}

TEST_CASE("admission: a client has at most max_per_client sessions", "[session][security]") {
  ClientTable clients;
  auto service = service_with(TlsMode::starttls);
  service.downstream.max_per_client = 1;
  Admission first(service, client_at("10.0.0.1"), clients);
  REQUIRE(first.begin());
  Admission second(service, client_at("10.0.0.1"), clients);
  CHECK(second.begin().error().code == Errc::limit);
  Admission other(service, client_at("10.0.0.2"), clients);
  CHECK(other.begin());
}
