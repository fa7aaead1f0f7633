#include "proxy/binding.h"

#include "tests/support/catch.h"

using namespace starttls;

namespace {

Address port(std::uint16_t number) {
  Address address;
  address.host = "127.0.0.1";
  address.port = number;
  return address;
}

}  // namespace

TEST_CASE("binding: a listener at a port that the proxy does not hold belongs to another process",
          "[proxy]") {
  CHECK(would_be_anothers(port(25), {}));
  CHECK(would_be_anothers(port(25), std::vector<std::uint16_t>{143, 587}));
}

TEST_CASE("binding: a listener at one of the proxy's ports is its own", "[proxy]") {
  const std::vector<std::uint16_t> own{143, 25};
  CHECK_FALSE(would_be_anothers(port(25), own));
  // The wildcard address of a port includes all of its addresses.
  Address all = port(143);
  all.host = "::";
  CHECK_FALSE(would_be_anothers(all, own));
}

TEST_CASE("binding: a port that the system chooses is free", "[proxy]") {
  CHECK_FALSE(would_be_anothers(port(0), {}));
  CHECK_FALSE(would_be_anothers(port(0), std::vector<std::uint16_t>{0}));
}

TEST_CASE("binding: the warning reports if the other process still gets connections", "[proxy]") {
  Address path;
  path.path = "/run/proxy.sock";
  CHECK(sharing_warning(port(25)).find("gets some of the connections") != std::string::npos);
  CHECK(sharing_warning(path).find("gets no new connections") != std::string::npos);
}
