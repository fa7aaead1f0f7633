#include "lib/session/client/table.h"

#include <optional>
#include <utility>
#include <vector>

#include "lib/net/address.h"
#include "tests/support/catch.h"

using namespace starttls;
using session::ClientTable;

namespace {

IpEndpoint endpoint(const std::string& host, std::uint16_t port = 1) {
  return *net::ip_endpoint(*net::parse_ip(host, port));
}

}  // namespace

TEST_CASE("client table: an address has at most its limit of sessions", "[session]") {
  ClientTable table;
  std::vector<ClientTable::Seat> seats;
  for (std::uint16_t port = 1; port <= 3; ++port) {
    auto seat = table.take("office", endpoint("192.0.2.1", port), 3);
    REQUIRE(seat);
    seats.push_back(std::move(*seat));
  }
  const auto refused = table.take("office", endpoint("192.0.2.1", 4), 3);
  REQUIRE_FALSE(refused);
  CHECK(refused.error().code == Errc::limit);
  CHECK(refused.error().reason == "too many sessions from your address");
  CHECK(refused.error().evidence == "downstream.max_per_client = 3");

  CHECK(table.take("office", endpoint("192.0.2.2"), 3));
  CHECK(table.take("other", endpoint("192.0.2.1"), 3));
  seats.pop_back();
  CHECK(table.take("office", endpoint("192.0.2.1", 5), 3));
}

TEST_CASE("client table: an ended session is forgotten", "[session]") {
  ClientTable table;
  {
    const auto one = table.take("office", endpoint("192.0.2.1"), 3);
    auto two = table.take("office", endpoint("2001:db8::1"), 3);
    CHECK(table.addresses() == 2);
    ClientTable::Seat moved = std::move(*two);
    ClientTable::Seat assigned;
    assigned = std::move(moved);
    CHECK(table.addresses() == 2);
  }
  CHECK(table.addresses() == 0);
}

TEST_CASE("client table: a client from before the limit counts", "[session]") {
  ClientTable table;
  {
    const auto one = table.take("office", endpoint("192.0.2.1"), 0);
    const auto two = table.take("office", endpoint("192.0.2.1"), 0);
    CHECK((one && two));
    CHECK(table.addresses() == 1);
    CHECK_FALSE(table.take("office", endpoint("192.0.2.1"), 2));
    CHECK(table.take("office", endpoint("192.0.2.1"), 3));
  }
  CHECK(table.addresses() == 0);
}

TEST_CASE("client table: IPv4 is one address in both its forms, each IPv6 address counts by itself",
          "[session]") {
  ClientTable table;
  const auto seat = table.take("office", endpoint("::ffff:192.0.2.1"), 1);
  CHECK_FALSE(table.take("office", endpoint("192.0.2.1"), 1));
  const auto six = table.take("office", endpoint("2001:db8::1"), 1);
  CHECK(table.take("office", endpoint("2001:db8::2"), 1));
  CHECK_FALSE(table.take("office", endpoint("2001:db8::1"), 1));
}

TEST_CASE("client table: a lower limit applies to new clients only", "[session]") {
  ClientTable table;
  const auto one = table.take("office", endpoint("192.0.2.1"), 3);
  const auto two = table.take("office", endpoint("192.0.2.1"), 3);
  CHECK_FALSE(table.take("office", endpoint("192.0.2.1"), 1));
  CHECK_FALSE(table.take("office", endpoint("192.0.2.1"), 2));
  CHECK(table.take("office", endpoint("192.0.2.1"), 3));
}
