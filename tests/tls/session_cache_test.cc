#include "lib/tls/session_cache.h"

#include <string>

#include "lib/tls/context_impl.h"
#include "tests/support/catch.h"

namespace starttls {
namespace {

using tls::SessionCache;

/// Returns an empty session of that version.
bssl::UniquePtr<SSL_SESSION> session_of(std::uint16_t version) {
  static const bssl::UniquePtr<SSL_CTX> ctx(SSL_CTX_new(TLS_method()));
  bssl::UniquePtr<SSL_SESSION> out(SSL_SESSION_new(ctx.get()));
  REQUIRE(out);
  REQUIRE(SSL_SESSION_set_protocol_version(out.get(), version) == 1);
  return out;
}

bssl::UniquePtr<SSL_SESSION> tls1_3() {
  return session_of(TLS1_3_VERSION);
}

std::size_t take_all(SessionCache& cache, const std::string& key) {
  std::size_t count = 0;
  while (cache.take(key)) ++count;
  return count;
}

TEST_CASE("session cache: a session is found under its own key only", "[tls][L7]") {
  SessionCache cache;
  CHECK_FALSE(cache.take("a"));
  cache.put("a", tls1_3());
  CHECK_FALSE(cache.take("b"));
  CHECK_FALSE(cache.take(""));
  CHECK(cache.take("a"));
}

TEST_CASE("session cache: a session of TLS 1.3 is used once, the newest first", "[tls][L7]") {
  SessionCache cache;
  auto older = tls1_3();
  auto newer = tls1_3();
  SSL_SESSION* const raw[] = {older.get(), newer.get()};
  cache.put("a", std::move(older));
  cache.put("a", std::move(newer));
  const auto first = cache.take("a");
  const auto second = cache.take("a");
  CHECK(first.get() == raw[1]);
  CHECK(second.get() == raw[0]);
  CHECK_FALSE(cache.take("a"));
}

TEST_CASE("session cache: one session of TLS 1.2 serves all connections, and a newer replaces it",
          "[tls][L7]") {
  SessionCache cache;
  cache.put("a", session_of(TLS1_2_VERSION));
  auto newer = session_of(TLS1_2_VERSION);
  SSL_SESSION* const raw = newer.get();
  cache.put("a", std::move(newer));
  for (int i = 0; i < 3; ++i) CHECK(cache.take("a").get() == raw);
}

TEST_CASE("session cache: a server that learns TLS 1.3 is resumed with it", "[tls][L7]") {
  SessionCache cache;
  cache.put("a", session_of(TLS1_2_VERSION));
  cache.put("a", tls1_3());
  const auto newest = cache.take("a");
  REQUIRE(newest);
  CHECK(SSL_SESSION_get_protocol_version(newest.get()) == TLS1_3_VERSION);
}

TEST_CASE("session cache: it keeps the newest sessions of one server, up to a limit", "[tls][L7]") {
  SessionCache cache;
  cache.put("b", tls1_3());
  SSL_SESSION* last = nullptr;
  for (std::size_t i = 0; i < 2 * SessionCache::kMaxPerServer; ++i) {
    auto session = tls1_3();
    last = session.get();
    cache.put("a", std::move(session));
  }
  CHECK(cache.take("a").get() == last);
  CHECK(take_all(cache, "a") == SessionCache::kMaxPerServer - 1);
  CHECK(take_all(cache, "b") == 1);
}

TEST_CASE("session cache: it keeps the newest sessions of all servers, up to a limit",
          "[tls][L7]") {
  SessionCache cache;
  constexpr std::size_t kServers = SessionCache::kMaxSessions + 100;
  for (std::size_t i = 0; i < kServers; ++i) {
    cache.put(std::to_string(i), i % 2 == 0 ? tls1_3() : session_of(TLS1_2_VERSION));
  }
  // More sessions of a known server do not go beyond the limit either.
  for (int i = 0; i < 10; ++i) cache.put(std::to_string(kServers - 2), tls1_3());
  CHECK(cache.take(std::to_string(kServers - 1)));
  CHECK(cache.take(std::to_string(kServers - 2)));
  std::size_t kept = 2;
  for (std::size_t i = 0; i + 2 < kServers; ++i) kept += cache.take(std::to_string(i)) ? 1 : 0;
  CHECK(kept <= SessionCache::kMaxSessions);
  CHECK(kept + 100 > SessionCache::kMaxSessions);
}

TEST_CASE("session cache: a used session leaves room", "[tls][L7]") {
  SessionCache cache;
  for (std::size_t i = 0; i < 3 * SessionCache::kMaxSessions; ++i) {
    cache.put("busy", tls1_3());
    REQUIRE(cache.take("busy"));
  }
  for (std::size_t i = 0; i < SessionCache::kMaxSessions; ++i) {
    cache.put(std::to_string(i), tls1_3());
  }
  std::size_t kept = 0;
  for (std::size_t i = 0; i < SessionCache::kMaxSessions; ++i) {
    kept += cache.take(std::to_string(i)) ? 1 : 0;
  }
  CHECK(kept == SessionCache::kMaxSessions);
}

}  // namespace
}  // namespace starttls
