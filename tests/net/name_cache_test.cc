#include "lib/net/name_cache.h"

#include <utility>

#include "tests/support/catch.h"

using namespace starttls;
using namespace starttls::net;
using namespace std::chrono_literals;

namespace {

using Time = NameCache::Time;
const std::string kName = "mail.example.test";

Addresses addresses(std::uint16_t count) {
  Addresses out;
  for (std::uint16_t port = 1; port <= count; ++port) {
    out.push_back(*parse_ip("192.0.2.1", port));
  }
  return out;
}

Error trouble() {
  return {Errc::unreachable, "cannot resolve", "time-out"};
}

/// Returns the number of known addresses; 0 for a known failure; nothing if a query is needed.
std::optional<std::size_t> known(NameCache& cache, Time now) {
  const auto look = cache.look(kName, now);
  if (!look.answer) return std::nullopt;
  return *look.answer ? (**look.answer)->size() : 0;
}

}  // namespace

TEST_CASE("name cache: R1: one query at a time", "[net][R1]") {
  NameCache cache;
  CHECK(cache.look(kName, 0s).must_ask);
  cache.on_asked(kName, 0s);
  const auto second = cache.look(kName, 1ms);
  CHECK_FALSE(second.must_ask);
  CHECK_FALSE(second.answer);
  CHECK(cache.look("other.example.test", 1ms).must_ask);
}

TEST_CASE("name cache: an answer is kept for its TTL, from a second to five minutes", "[net]") {
  for (const auto& [ttl, kept] : {std::pair{0s, 1s}, {7s, 7s}, {3600s, 300s}}) {
    CAPTURE(ttl.count());
    NameCache cache;
    cache.on_asked(kName, 10s);
    const auto answer = cache.on_found(kName, addresses(2), ttl, 10s);
    CHECK((*answer)->size() == 2);
    CHECK(known(cache, 10s + kept - 1ms) == 2);
    CHECK_FALSE(cache.look(kName, 10s + kept - 1ms).must_ask);
    CHECK(known(cache, 10s + kept) == std::nullopt);
    CHECK(cache.look(kName, 10s + kept).must_ask);
  }
}

TEST_CASE("name cache: a failure is kept for two seconds", "[net]") {
  NameCache cache;
  cache.on_asked(kName, 0s);
  const auto answer = cache.on_failed(kName, trouble(), false, 5s);
  CHECK(answer.error().evidence == "time-out");
  CHECK(known(cache, 7s - 1ms) == 0);
  CHECK(cache.look(kName, 7s).must_ask);
}

TEST_CASE("name cache: R1: the last good answer serves while name servers fail", "[net][R1]") {
  NameCache cache;
  cache.on_asked(kName, 0s);
  static_cast<void>(cache.on_found(kName, addresses(3), 10s, 0s));
  CHECK(cache.look(kName, 10s).must_ask);
  cache.on_asked(kName, 10s);

  SECTION("during a query, after a short wait") {
    CHECK(known(cache, 10s + NameCache::kPatience - 1ms) == std::nullopt);
    CHECK(known(cache, 10s + NameCache::kPatience) == 3);
    CHECK_FALSE(cache.look(kName, 10s + NameCache::kPatience).must_ask);
  }
  SECTION("after a failure, at once") {
    CHECK((*cache.on_failed(kName, trouble(), false, 11s))->size() == 3);
    CHECK(known(cache, 11s) == 3);
    CHECK(cache.look(kName, 13s).must_ask);
  }
  SECTION("for an hour") {
    CHECK((*cache.on_failed(kName, trouble(), false, 1h - 1s))->size() == 3);
    CHECK(known(cache, 1h - 1ms) == 3);
    CHECK(known(cache, 1h) == 0);
    cache.on_asked(kName, 2h);
    CHECK(known(cache, 2h + NameCache::kPatience) == std::nullopt);
  }
  SECTION("but not if the name is gone") {
    CHECK_FALSE(cache.on_failed(kName, trouble(), true, 11s));
    CHECK(known(cache, 11s) == 0);
  }
  SECTION("until there is a new one") {
    CHECK((*cache.on_found(kName, addresses(1), 10s, 11s))->size() == 1);
    CHECK(known(cache, 12s) == 1);
  }
}

TEST_CASE("name cache: unused names are forgotten", "[net]") {
  NameCache cache;
  for (int number = 0; number < 100; ++number) {
    const auto name = std::to_string(number) + ".example.test";
    const auto now = std::chrono::hours{number};
    cache.on_asked(name, now);
    if (number % 2 == 0) {
      static_cast<void>(cache.on_found(name, addresses(1), 60s, now));
    } else {
      static_cast<void>(cache.on_failed(name, trouble(), true, now));
    }
  }
  CHECK(cache.size() <= 3);
}
