#include "lib/session/credentials/secret_cache.h"

#include <string>
#include <string_view>
#include <vector>

#include "tests/support/catch.h"

using namespace starttls;
using namespace starttls::session;
using namespace std::chrono_literals;

namespace {

using Tickets = std::vector<SecretCache::Ticket>;

/// A cache with clocks that the test sets.
struct CachePlayer {
  /// Asks, and returns the result in words: "fetch", "waits", a secret, or a failure's reason.
  std::string ask(const Secret* refused = nullptr, const std::string& user = "u",
                  const std::string& source = "s") {
    const auto asked = cache.ask(++last, {source, user}, lifetime, refused, now);
    if (!asked.answer) return asked.fetch ? "fetch" : "waits";
    CHECK_FALSE(asked.fetch);
    if (const auto* const found = std::get_if<FreshSecret>(&*asked.answer)) {
      return std::string(found->secret.reveal());
    }
    return std::get<NoSecret>(*asked.answer).error.reason;
  }
  Tickets give(std::string_view secret, SecretEnd end = {}, const std::string& user = "u") {
    return cache.on_fetched({"s", user}, FreshSecret{Secret{secret}, end}, now).waiting;
  }
  Tickets fail_fetch() {
    const NoSecret failure{metrics::SecretFailure::failed, Error{Errc::login, "it has failed"}};
    return cache.on_fetched({"s", "u"}, failure, now).waiting;
  }
  void pass(std::chrono::milliseconds time) {
    now.steady += time;
    now.wall += time;
  }

  SecretCache cache;
  SecretCache::Ticket last = 0;
  std::chrono::milliseconds lifetime = 30min;
  SecretCache::Times now{1h, 1'000'000h};
};

UnixTime wall_in(const CachePlayer& it, std::chrono::seconds after) {
  return {std::chrono::floor<std::chrono::seconds>(it.now.wall) + after};
}

}  // namespace

TEST_CASE("secret cache: a secret is kept for its lifetime", "[session][login]") {
  CachePlayer it;
  CHECK(it.ask() == "fetch");
  CHECK(it.give("one") == Tickets{1});
  it.pass(30min - 1ms);
  CHECK(it.ask() == "one");
  it.pass(1ms);
  CHECK(it.ask() == "fetch");
  CHECK(it.give("two") == Tickets{3});
  CHECK(it.ask() == "two");
}

TEST_CASE("secret cache: one request at a time asks a source", "[session][login][security]") {
  CachePlayer it;
  CHECK(it.ask() == "fetch");
  for (int i = 0; i < 49; ++i) CHECK(it.ask() == "waits");
  CHECK(it.give("one").size() == 50);
  CHECK(it.ask() == "one");
  CHECK(it.ask(nullptr, "v") == "fetch");  // another account
}

TEST_CASE("secret cache: a secret is not used in the last five minutes before its end",
          "[session][login]") {
  const auto kept_for = [](SecretEnd end) {
    CachePlayer it;
    CHECK(it.ask() == "fetch");
    it.give("one", end);
    std::chrono::minutes time{0};
    while (it.ask() == "one") {
      it.pass(1min);
      time += 1min;
    }
    return time;
  };
  const CachePlayer at_start;
  CHECK(kept_for({.after = 15min}) == 10min);
  CHECK(kept_for({.at = wall_in(at_start, 12min)}) == 7min);
  CHECK(kept_for({.after = 15min, .at = wall_in(at_start, 12min)}) == 7min);
  CHECK(kept_for({.after = 2h}) == 30min);
  CHECK(kept_for({.after = 5min}) == 0min);
  CHECK(kept_for({.after = 0s}) == 0min);
  CHECK(kept_for({.at = UnixTime{}}) == 0min);
}

TEST_CASE("secret cache: a secret that ends soon serves those who waited for it",
          "[session][login]") {
  CachePlayer it;
  CHECK(it.ask() == "fetch");
  CHECK(it.ask() == "waits");
  CHECK(it.give("short", {.after = 1min}) == Tickets{1, 2});
  CHECK(it.ask() == "fetch");
}

TEST_CASE("secret cache: the clock that is ahead decides", "[session][login][security]") {
  SECTION("the machine has slept") {
    CachePlayer it;
    CHECK(it.ask() == "fetch");
    it.give("one");
    it.now.wall += 30min;
    CHECK(it.ask() == "fetch");
  }
  SECTION("the clock has been set back") {
    CachePlayer it;
    CHECK(it.ask() == "fetch");
    it.give("one");
    it.now.wall -= 24h;
    it.now.steady += 30min;
    CHECK(it.ask() == "fetch");
  }
}

TEST_CASE("secret cache: a failure is remembered for five seconds", "[session][login][security]") {
  CachePlayer it;
  CHECK(it.ask() == "fetch");
  CHECK(it.ask() == "waits");
  CHECK(it.fail_fetch() == Tickets{1, 2});
  CHECK(it.ask() == "it has failed");
  it.pass(5s - 1ms);
  CHECK(it.ask() == "it has failed");
  it.pass(1ms);
  CHECK(it.ask() == "fetch");
  it.give("one");
  CHECK(it.ask() == "one");
}

TEST_CASE("secret cache: a refused secret is fetched afresh once", "[session][login]") {
  CachePlayer it;
  const Secret one{"one"};
  CHECK(it.ask() == "fetch");
  it.give("one");
  CHECK(it.ask(&one) == "fetch");
  CHECK(it.ask() == "waits");  // nothing else uses the refused one meanwhile
  it.give("two");
  CHECK(it.ask(&one) == "two");  // another session has had it fetched
  CHECK(it.ask() == "two");
}

TEST_CASE("secret cache: refusals of a secret that its source confirms do not flood the source",
          "[session][login][security]") {
  CachePlayer it;
  const Secret one{"one"};
  CHECK(it.ask() == "fetch");
  it.give("one");
  CHECK(it.ask(&one) == "fetch");
  it.give("one");
  for (int i = 0; i < 10; ++i) CHECK(it.ask(&one) == "one");
  it.pass(5s);
  CHECK(it.ask(&one) == "fetch");
}

TEST_CASE("secret cache: a request that is given up gets no answer", "[session][login]") {
  CachePlayer it;
  CHECK(it.ask() == "fetch");
  CHECK(it.ask() == "waits");
  it.cache.give_up(1, {"s", "u"});
  it.cache.give_up(7, {"s", "u"});
  it.cache.give_up(7, {"s", "other"});
  CHECK(it.give("one") == Tickets{2});
  CHECK(it.ask() == "one");
}

TEST_CASE("secret cache: a source is asked for few accounts at once, and the others wait",
          "[session][login][security]") {
  CachePlayer it;
  for (std::size_t i = 0; i < SecretCache::kAtOnce; ++i) {
    CHECK(it.ask(nullptr, std::to_string(i)) == "fetch");
  }
  CHECK(it.ask(nullptr, "given up") == "waits");
  CHECK(it.ask(nullptr, "next") == "waits");
  CHECK(it.ask(nullptr, "last") == "waits");
  CHECK(it.ask(nullptr, "u", "another source") == "fetch");
  it.cache.give_up(SecretCache::kAtOnce + 1, {"s", "given up"});
  const auto done = [&it](const std::string& user) {
    return it.cache.on_fetched({"s", user}, FreshSecret{Secret{"x"}}, it.now);
  };
  const auto fetched = done("0");
  CHECK(fetched.waiting == Tickets{1});
  CHECK(fetched.next == SecretCache::kAtOnce + 2);
  CHECK(done("1").next == SecretCache::kAtOnce + 3);
  CHECK_FALSE(done("2").next);
  CHECK(done("next").waiting == Tickets{SecretCache::kAtOnce + 2});
}

TEST_CASE("secret cache: it has bounds", "[session][login][security]") {
  CachePlayer it;
  const std::string busy = "too many logins wait for the secret's source";
  SECTION("requests that wait") {
    CHECK(it.ask() == "fetch");
    for (std::size_t i = 1; i < SecretCache::kMaxWaiting; ++i) CHECK(it.ask() == "waits");
    CHECK(it.ask() == busy);
    CHECK(it.give("one").size() == SecretCache::kMaxWaiting);
    CHECK(it.ask() == "one");
  }
  SECTION("accounts of which all are asked for") {
    for (std::size_t i = 0; i < SecretCache::kMaxAccounts; ++i) {
      CHECK(it.ask(nullptr, std::to_string(i)) != busy);
    }
    CHECK(it.ask(nullptr, "one more") == busy);
    CHECK(it.ask(nullptr, "0") == "waits");
  }
  SECTION("accounts that are kept: the one that was not used for the longest time goes") {
    for (std::size_t i = 0; i < SecretCache::kMaxAccounts; ++i) {
      CHECK(it.ask(nullptr, std::to_string(i)) == "fetch");
      it.give("x", {}, std::to_string(i));
    }
    CHECK(it.ask(nullptr, "0") == "x");
    CHECK(it.ask(nullptr, "one more") == "fetch");
    CHECK(it.cache.size() == SecretCache::kMaxAccounts);
    CHECK(it.ask(nullptr, "0") == "x");
    CHECK(it.ask(nullptr, "1") == "fetch");
  }
}

TEST_CASE("secret cache: a changed source begins anew", "[session][login]") {
  CachePlayer it;
  CHECK(it.ask() == "fetch");
  it.give("one");
  it.cache.keep_sources([](const std::string& source) { return source == "s"; });
  CHECK(it.ask() == "one");
  it.cache.keep_sources([](const std::string& source) { return source != "s"; });
  CHECK(it.ask() == "fetch");
  // A request under way is answered all the same.
  it.cache.keep_sources([](const std::string&) { return false; });
  CHECK(it.give("two") == Tickets{3});
}

TEST_CASE("secret cache: secrets that have ended are wiped", "[session][login][security]") {
  CachePlayer it;
  CHECK_FALSE(it.cache.drop_expired(it.now));
  CHECK(it.ask() == "fetch");
  it.give("one");
  CHECK(it.cache.drop_expired(it.now));
  it.pass(30min);
  CHECK_FALSE(it.cache.drop_expired(it.now));
}
