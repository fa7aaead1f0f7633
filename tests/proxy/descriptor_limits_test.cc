#include "proxy/descriptor_limits.h"

#include <string>
#include <vector>

#include "tests/support/catch.h"

using namespace starttls;

namespace {

const Address kName{.host = "mail.example.com", .port = 25, .path = {}};
const Address kNumber{.host = "192.0.2.1", .port = 25, .path = {}};
const Address kPath{.host = {}, .port = 0, .path = "/run/lmtp"};

config::Service service(const std::vector<Address>& servers) {
  config::Service made;
  made.listen = {Address{.host = "127.0.0.1", .port = 2525, .path = {}}};
  made.downstream.tls = TlsMode::none;
  made.upstream.tls = TlsMode::none;
  made.upstream.address = servers;
  return made;
}

DescriptorNeeds needs(const std::vector<config::Service>& services, std::size_t workers = 1) {
  config::Config config;
  config.services = services;
  return descriptor_needs(config, workers);
}

std::size_t per_session(const config::Service& of) {
  return needs({of}).per_session;
}

}  // namespace

TEST_CASE("descriptor limits: R5: a session may have several connection attempts", "[proxy][R5]") {
  CHECK(per_session(service({kNumber})) == 2);
  CHECK(per_session(service({kPath})) == 2);
  CHECK(per_session(service({kName})) == 4);
  // The service that needs the most counts for all.
  CHECK(needs({service({kNumber}), service({kName}), service({kPath})}).per_session == 4);
}

TEST_CASE("descriptor limits: R5: the connection before may still be receiving our goodbye",
          "[proxy][R5]") {
  CHECK(per_session(service({kNumber, kNumber})) == 3);
  CHECK(per_session(service({kNumber, kName})) == 5);
  for (const auto mode : {TlsMode::opportunistic, TlsMode::starttls, TlsMode::implicit}) {
    auto upgrading = service({kNumber});
    upgrading.upstream.tls = mode;
    CHECK(per_session(upgrading) == 3);
    upgrading.upstream.address = {kName};
    CHECK(per_session(upgrading) == 5);
  }
  for (const auto mode : {TlsMode::opportunistic, TlsMode::starttls}) {
    auto offering = service({kNumber});
    offering.downstream.tls = mode;
    CHECK(per_session(offering) == 3);
  }
  auto at_once = service({kNumber});
  at_once.downstream.tls = TlsMode::implicit;
  CHECK(per_session(at_once) == 2);
  auto login = service({kNumber});
  login.login = config::Login{};
  CHECK(per_session(login) == 3);
  auto by_destination = service({});
  by_destination.upstream.original_destination = true;
  CHECK(per_session(by_destination) == 2);
  by_destination.destinations.emplace_back();
  CHECK(per_session(by_destination) == 2);
  by_destination.destinations.emplace_back().tls = TlsMode::starttls;
  CHECK(per_session(by_destination) == 3);
}

TEST_CASE("descriptor limits: loops, listeners and warm connections are counted per worker",
          "[proxy]") {
  const auto one = needs({service({kNumber})}, 1);
  const auto two = needs({service({kNumber})}, 2);
  CHECK(two.reserved - one.reserved == 10 + 1);
  CHECK(one.warm == 0);

  auto warm = service({kNumber});
  warm.upstream.warm = 7;
  CHECK(needs({warm}, 1).warm == 7 + 4);  // four may be leaving
  CHECK(needs({warm}, 3).warm == 3 * needs({warm}, 1).warm);
  warm.upstream.address = {kName};
  CHECK(needs({warm}, 1).warm == 7 + 4 + 2 * 4);  // four are opened at a time
}

TEST_CASE("descriptor limits: sessions get the descriptors that are left", "[proxy]") {
  const DescriptorNeeds needs{.reserved = 100, .warm = 20, .per_session = 4};
  CHECK(session_limit(needs, 1024, 0) == (1024 - 100 - 20) / 4);
  CHECK(session_limit(needs, 1024, 50) == 50);
  CHECK(session_limit(needs, 1024, 5000) == (1024 - 100 - 20) / 4);
  // Of few descriptors, half are for sessions.
  CHECK(session_limit(needs, 200, 0) == (100 - 20) / 4);
  CHECK(session_limit(needs, 40, 0) == 1);
}
