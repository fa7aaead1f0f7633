#include "lib/tls/silent_servers.h"

#include <string>

#include "tests/support/catch.h"

namespace starttls {
namespace {

using namespace std::chrono_literals;
using tls::SilentServers;

constexpr SilentServers::Clock::time_point kFirstSeen{1000h};

TEST_CASE("silent servers: a server is remembered for a day", "[tls][post-quantum]") {
  SilentServers servers;
  CHECK_FALSE(servers.contains("192.0.2.1:25", kFirstSeen));
  servers.add("192.0.2.1:25", kFirstSeen);
  CHECK(servers.contains("192.0.2.1:25", kFirstSeen));
  CHECK(servers.contains("192.0.2.1:25", kFirstSeen + 24h - 1s));
  CHECK_FALSE(servers.contains("192.0.2.1:25", kFirstSeen + 24h));
  CHECK_FALSE(servers.contains("192.0.2.2:25", kFirstSeen));
}

TEST_CASE("silent servers: a server that is silent again is remembered anew",
          "[tls][post-quantum]") {
  SilentServers servers;
  servers.add("a", kFirstSeen);
  servers.add("a", kFirstSeen + 30h);
  CHECK(servers.contains("a", kFirstSeen + 53h));
  CHECK_FALSE(servers.contains("a", kFirstSeen + 54h));
}

TEST_CASE("silent servers: a full memory forgets the server that was noted first",
          "[tls][post-quantum][limits]") {
  SilentServers servers;
  for (std::size_t i = 0; i < SilentServers::kMaxServers; ++i) {
    servers.add(std::to_string(i), kFirstSeen + std::chrono::seconds{i});
  }
  const auto later = kFirstSeen + 1h;
  servers.add("0", later);  // it is known, and takes no other's place
  CHECK(servers.contains("1", later));
  servers.add("new", later);
  CHECK(servers.contains("new", later));
  CHECK(servers.contains("0", later));
  CHECK_FALSE(servers.contains("1", later));
  CHECK(servers.contains("2", later));
}

}  // namespace
}  // namespace starttls
