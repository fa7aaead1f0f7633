#include "lib/config/notation.h"

#include <arpa/inet.h>

#include <array>
#include <string>

#include "tests/support/catch.h"

using namespace starttls;
using namespace std::chrono_literals;
using config::contains;
using config::parse_address;
using config::parse_duration;
using config::parse_network;

namespace {

std::array<std::uint8_t, 16> ip(const std::string& text) {
  std::array<std::uint8_t, 16> bytes = {};
  if (inet_pton(AF_INET6, text.c_str(), bytes.data()) == 1) return bytes;
  bytes[10] = bytes[11] = 0xff;
  REQUIRE(inet_pton(AF_INET, text.c_str(), bytes.data() + 12) == 1);
  return bytes;
}

}  // namespace

TEST_CASE("address: to_string returns the text that was parsed", "[config]") {
  const auto* const text = GENERATE("smtp.example.com:587", "127.0.0.1:0", "[::1]:65535",
                                    "[2001:db8::1]:25", "unix:/run/x.sock", "localhost:25",
                                    "a_b.example.com.:25", "xn--bcher-kva.example:25",
                                    "[fe80::1%eth0]:25", "[fe80::1%2]:25", "[febf::1%br-0.1@x]:25");
  CAPTURE(text);
  const auto address = parse_address(text);
  REQUIRE(address);
  CHECK(to_string(*address) == text);
}

TEST_CASE("address: one IP address has one spelling", "[config]") {
  CHECK(*parse_address("[0:0::0:1]:25") == *parse_address("[::1]:25"));
  CHECK(*parse_address("[2001:DB8::A]:25") == *parse_address("[2001:db8:0:0::a]:25"));
}

TEST_CASE("address: a text that is not an address is refused with a reason", "[config]") {
  struct Case {
    std::string text;
    std::string reason;
  };
  const auto row = GENERATE(values<Case>({
      {"", "'': the host is missing"},
      {":25", "':25': the host is missing"},
      {"mail.example.com", "'mail.example.com': the port is missing: write HOST:PORT"},
      {"mail.example.com:", "'mail.example.com:': the port is missing: write HOST:PORT"},
      {"[::1]", "'[::1]': the port is missing: write HOST:PORT"},
      {"[::1", "'[::1': ']' is missing"},
      {"[]:25", "'[]:25': the brackets do not hold an IPv6 address"},
      {"[127.0.0.1]:25", "'[127.0.0.1]:25': the brackets do not hold an IPv6 address"},
      {"[mail.example.com]:25",
       "'[mail.example.com]:25': the brackets do not hold an IPv6 address"},
      {"::1:25", "'::1:25': write an IPv6 address in brackets: [::1]:PORT"},
      // T6: no connection can have these addresses.
      {"[::ffff:127.0.0.1]:25",
       "'[::ffff:127.0.0.1]:25': this is an IPv4 address: write 127.0.0.1:25"},
      {"[::FFFF:7f00:1]:0", "'[::FFFF:7f00:1]:0': this is an IPv4 address: write 127.0.0.1:0"},
      {"[::ffff:0:0]:25", "'[::ffff:0:0]:25': this is an IPv4 address: write 0.0.0.0:25"},
      {"224.0.0.1:25", "'224.0.0.1:25': TCP cannot use a multicast address"},
      {"239.255.255.255:25", "'239.255.255.255:25': TCP cannot use a multicast address"},
      {"[ff02::1]:25", "'[ff02::1]:25': TCP cannot use a multicast address"},
      {"[ff02::1%eth0]:25", "'[ff02::1%eth0]:25': TCP cannot use a multicast address"},
      {"255.255.255.255:25", "'255.255.255.255:25': TCP cannot use the broadcast address"},
      {"[fe80::1]:25",
       "'[fe80::1]:25': a link-local address needs its interface: write [fe80::1%eth0]:PORT"},
      // T9
      {"[::1%lo]:25",
       "'[::1%lo]:25': only a link-local address (fe80::1%eth0) can have an interface"},
      {"[2001:db8::1%1]:25",
       "'[2001:db8::1%1]:25': only a link-local address (fe80::1%eth0) can have an interface"},
      {"[fe80::1%]:25", "'[fe80::1%]:25': not the name of an interface"},
      {"[fe80::1%a/b]:25", "'[fe80::1%a/b]:25': not the name of an interface"},
      {"[fe80::1%a b]:25", "'[fe80::1%a b]:25': not the name of an interface"},
      {"[fe80::1%%25]:25", "'[fe80::1%%25]:25': not the name of an interface"},
      {"[fe80::1%1234567890123456]:25",
       "'[fe80::1%1234567890123456]:25': not the name of an interface"},
      {"[127.0.0.1%lo]:25", "'[127.0.0.1%lo]:25': the brackets do not hold an IPv6 address"},
      {"127.0.0.1%lo:25",
       "'127.0.0.1%lo': not a host name (letters, digits, '-' and dots) or IP address"},
      {"fe80::1%eth0:25", "'fe80::1%eth0:25': write an IPv6 address in brackets: [::1]:PORT"},
      {"a:65536", "'a:65536': the port is not a number from 0 to 65535"},
      {"a:-1", "'a:-1': the port is not a number from 0 to 65535"},
      {"a:smtp", "'a:smtp': the port is not a number from 0 to 65535"},
      {"300.1.1.1:25", "'300.1.1.1': not an IPv4 address"},
      {"127.1:25", "'127.1': not an IPv4 address"},
      {"2130706433:25", "'2130706433': not an IPv4 address"},
      {"a..b:25", "'a..b': not a host name (letters, digits, '-' and dots) or IP address"},
      {"a b:25", "'a b': not a host name (letters, digits, '-' and dots) or IP address"},
      {"*.example.com:25",
       "'*.example.com': not a host name (letters, digits, '-' and dots) or IP address"},
      {std::string(64, 'a') + ":25",
       "'" + std::string(64, 'a') +
           "': not a host name (letters, digits, '-' and dots) or IP address"},
      {"2525", "'2525': the host is missing: write HOST:2525"},
      {"65536", "'65536': not an IPv4 address"},
      {"smtps://mail.example.com:465",
       "'smtps://mail.example.com:465': write HOST:PORT, without a scheme or a path"},
      {"imap://mail.example.com",
       "'imap://mail.example.com': write HOST:PORT, without a scheme or a path"},
      {"unix:", "'unix:': the path is missing"},
  }));
  CAPTURE(row.text);
  const auto address = parse_address(row.text);
  REQUIRE_FALSE(address);
  CHECK(address.error().code == Errc::config);
  CHECK(address.error().reason == row.reason);
}

TEST_CASE("address: a NUL does not cut the text short", "[config][security]") {
  CHECK_FALSE(parse_address(std::string("127.0.0.1\0.evil.example:25", 26)));
  CHECK_FALSE(parse_address(std::string("unix:/run/x\0y", 13)));
  CHECK_FALSE(parse_network(std::string("10.0.0.0\0", 9)));
}

TEST_CASE("address: a socket's path is limited to the length the system accepts", "[config]") {
  CHECK(parse_address("unix:" + std::string(107, 'x')));
  CHECK_FALSE(parse_address("unix:" + std::string(108, 'x')));
}

TEST_CASE("address: only loopback and unix addresses are local", "[config][security]") {
  const auto local = [](const char* text) { return config::is_local(*parse_address(text)); };
  CHECK(local("127.0.0.1:25"));
  CHECK(local("127.255.0.9:25"));
  CHECK(local("[::1]:25"));
  CHECK(local("unix:/run/x"));
  CHECK_FALSE(local("0.0.0.0:25"));
  CHECK_FALSE(local("128.0.0.1:25"));
  CHECK_FALSE(local("[::]:25"));
  CHECK_FALSE(local("[::2]:25"));
  CHECK_FALSE(local("192.168.1.1:25"));
  CHECK_FALSE(local("localhost:25"));  // a name may be anything
}

TEST_CASE("network: to_string returns the text that was parsed", "[config]") {
  const auto* const text = GENERATE("10.0.0.0/8", "0.0.0.0/0", "192.168.1.7", "2001:db8::/32",
                                    "::/0", "::1", "10.1.2.128/25");
  CAPTURE(text);
  const auto network = parse_network(text);
  REQUIRE(network);
  CHECK(to_string(*network) == text);
}

TEST_CASE("network: a text that is not a network is refused with a reason", "[config]") {
  struct Case {
    std::string text;
    std::string reason;
  };
  constexpr const char* kNotation =
      ": not a network: write 10.0.0.0/8, 2001:db8::/32 or one address";
  const auto row = GENERATE_COPY(values<Case>({
      {"", std::string("''") + kNotation},
      {"example.com", std::string("'example.com'") + kNotation},
      {"10.0.0/8", std::string("'10.0.0/8'") + kNotation},
      {"10.0.0.0/", "'10.0.0.0/': the prefix is not a number from 0 to 32"},
      {"10.0.0.0/33", "'10.0.0.0/33': the prefix is not a number from 0 to 32"},
      {"::/129", "'::/129': the prefix is not a number from 0 to 128"},
      {"10.0.0.1/8", "'10.0.0.1/8': bits are set after the prefix: write 10.0.0.0/8"},
      {"2001:db8::1/32", "'2001:db8::1/32': bits are set after the prefix: write 2001:db8::/32"},
      {"1.2.3.4/0", "'1.2.3.4/0': bits are set after the prefix: write 0.0.0.0/0"},
  }));
  CAPTURE(row.text);
  const auto network = parse_network(row.text);
  REQUIRE_FALSE(network);
  CHECK(network.error().reason == row.reason);
}

TEST_CASE("network: it contains its own addresses only", "[config][security]") {
  struct Case {
    std::string network;
    std::string address;
    bool inside;
  };
  const auto row = GENERATE(values<Case>({
      {"10.0.0.0/8", "10.255.255.255", true},
      {"10.0.0.0/8", "11.0.0.0", false},
      {"10.0.0.0/8", "9.255.255.255", false},
      {"10.1.2.128/25", "10.1.2.128", true},
      {"10.1.2.128/25", "10.1.2.127", false},
      {"10.1.2.4/31", "10.1.2.5", true},
      {"10.1.2.4/31", "10.1.2.6", false},
      {"192.168.1.7", "192.168.1.7", true},
      {"192.168.1.7", "192.168.1.6", false},
      {"0.0.0.0/0", "203.0.113.9", true},
      {"0.0.0.0/0", "2001:db8::1", false},
      {"2001:db8::/33", "2001:db8:7fff::1", true},
      {"2001:db8::/33", "2001:db8:8000::1", false},
      {"::1", "::1", true},
      {"::1", "::2", false},
      {"::/0", "2001:db8::1", true},
      {"::/0", "203.0.113.9", false},  // all of IPv6, and no IPv4 through its mapped form
      {"::/64", "203.0.113.9", false},
  }));
  CAPTURE(row.network, row.address);
  const auto network = parse_network(row.network);
  REQUIRE(network);
  CHECK(contains(*network, ip(row.address)) == row.inside);
}

TEST_CASE("duration: each unit appears once, the larger first", "[config]") {
  CHECK(parse_duration("10s") == 10s);
  CHECK(parse_duration("5m") == 5min);
  CHECK(parse_duration("1h30m") == 90min);
  CHECK(parse_duration("250ms") == 250ms);
  CHECK(parse_duration("1h2m3s4ms") == 1h + 2min + 3s + 4ms);
  CHECK(parse_duration("90m") == 90min);
  CHECK(parse_duration("24h") == 24h);
}

TEST_CASE("duration: a text that is not a duration is refused with a reason", "[config]") {
  const auto reason = [](const char* text) {
    const auto duration = parse_duration(text);
    return duration ? "accepted" : duration.error().reason;
  };
  for (const auto* text :
       {"", "10", "s", "10 s", "-5s", "+5s", "1.5s", "10d", "5s5s", "5s1m", "m5", "5S", "5s "}) {
    CAPTURE(text);
    CHECK(reason(text) ==
          "'" + std::string(text) + R"(': not a duration such as "10s", "5m", "1h30m" or "250ms")");
  }
  CHECK(reason("0s") == "'0s': a duration must be longer than 0");
  CHECK(reason("0h0m") == "'0h0m': a duration must be longer than 0");
  CHECK(reason("25h") == "'25h': longer than a day");
  CHECK(reason("24h1ms") == "'24h1ms': longer than a day");
  CHECK(reason("18446744073709551615h") == "'18446744073709551615h': longer than a day");
}

TEST_CASE("duration: it is printed the way it is written", "[config]") {
  CHECK(config::to_string(10s) == "10s");
  CHECK(config::to_string(90min) == "1h30m");
  CHECK(config::to_string(1h + 4ms) == "1h4ms");
}
