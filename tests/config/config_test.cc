#include "lib/config/config.h"

#include <string>
#include <vector>

#include "tests/support/catch.h"

using namespace starttls;
using namespace std::chrono_literals;
using config::parse_address;

TEST_CASE("address: the interface is not part of the name that is verified",
          "[config][security][T9]") {
  config::Upstream upstream;
  CHECK(peer_name(upstream, *parse_address("[fe80::1%eth0]:25")) == "fe80::1");
  CHECK_FALSE(config::is_local(*parse_address("[fe80::1%lo]:25")));
  CHECK_FALSE(
      config::overlap(*parse_address("[fe80::1%eth0]:25"), *parse_address("[fe80::1%eth1]:25")));
  CHECK(config::overlap(*parse_address("[fe80::1%eth0]:25"), *parse_address("[::]:25")));
  CHECK_FALSE(config::check_host("fe80::1%eth0"));
  CHECK_FALSE(config::parse_network("fe80::1%eth0"));
}

TEST_CASE("peer name: it is the configured name, without a trailing dot", "[config]") {
  config::Upstream upstream;
  CHECK(peer_name(upstream, {"mx.example.com.", 25, ""}) == "mx.example.com");
  CHECK(peer_name(upstream, {"", 0, "/run/x"}).empty());
  upstream.server_name = "mail.example.com";
  CHECK(peer_name(upstream, {"10.0.0.1", 25, ""}) == "mail.example.com");
}

TEST_CASE("destinations: the most specific network counts, at any row", "[config]") {
  const auto row = [](std::initializer_list<std::string_view> networks) {
    config::Destination destination;
    for (const auto text : networks) destination.networks.push_back(*config::parse_network(text));
    return destination;
  };
  const std::vector<config::Destination> rows = {
      row({"10.1.0.0/16"}), row({"10.0.0.0/8", "2001:db8::/32"}), row({"2001:db8:1::/48"}),
      row({"10.1.2.3", "192.0.2.0/24"}), row({"::/0"})};
  const auto found = [&rows](std::string_view address) {
    return config::most_specific(rows, config::parse_network(address)->bytes);
  };
  CHECK(found("10.9.0.1") == 1);
  CHECK(found("10.1.0.1") == 0);
  CHECK(found("10.1.2.3") == 3);
  CHECK(found("192.0.2.255") == 3);
  CHECK(found("2001:db8::1") == 1);
  CHECK(found("2001:db8:1::1") == 2);
  CHECK(found("fd00::1") == 4);
  CHECK(found("192.0.3.1") == std::nullopt);  // ::/0 does not cover IPv4
  CHECK(config::most_specific({}, config::parse_network("10.1.2.3")->bytes) == std::nullopt);
}
