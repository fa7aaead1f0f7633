#include "lib/base/ip_endpoint.h"

#include "tests/support/catch.h"

using namespace starttls;
using Family = IpEndpoint::Family;

TEST_CASE("ip endpoint: an IPv4-mapped IPv6 address equals the IPv4 address", "[base]") {
  const IpEndpoint plain{.family = Family::v4, .bytes = {192, 0, 2, 1}, .port = 25};
  const IpEndpoint mapped{.family = Family::v6, .bytes = mapped_bytes(plain), .port = 25};
  CHECK_FALSE(mapped == plain);
  CHECK(unmapped(mapped) == plain);
  CHECK(unmapped(plain) == plain);
  const IpEndpoint other{.family = Family::v6, .bytes = {0x20, 0x01, 0x0d, 0xb8}, .port = 25};
  CHECK(unmapped(other) == other);
  CHECK(mapped_bytes(mapped) == mapped.bytes);
  CHECK(is_mapped(mapped.bytes));
  CHECK_FALSE(is_mapped(other.bytes));
  auto compatible = mapped;  // ::192.0.2.1 is not mapped (RFC 4291 §2.5.5.1)
  compatible.bytes[10] = compatible.bytes[11] = 0;
  CHECK(unmapped(compatible) == compatible);
}
