#include "lib/tls/verified_chains.h"

#include <cstdint>

#include "tests/support/catch.h"

namespace starttls {
namespace {

using namespace std::chrono_literals;
using tls::Digest;
using tls::Fingerprint;
using tls::VerifiedChains;

constexpr VerifiedChains::Clock::time_point kNow{400'000h};

Digest digest_of(std::uint64_t number) {
  return Fingerprint().add(number).finish();
}

TEST_CASE("verified chains: a verified chain is remembered for an hour", "[tls][L7]") {
  VerifiedChains chains;
  CHECK_FALSE(chains.contains(digest_of(1), kNow));
  chains.add(digest_of(1), kNow, 10000h);
  CHECK(chains.contains(digest_of(1), kNow));
  CHECK_FALSE(chains.contains(digest_of(2), kNow));
  CHECK(chains.contains(digest_of(1), kNow + 1h - 1s));
  CHECK_FALSE(chains.contains(digest_of(1), kNow + 1h));
  // The entry is gone for good, even if the clock goes back.
  CHECK_FALSE(chains.contains(digest_of(1), kNow));
}

TEST_CASE("verified chains: a chain is remembered only while its certificates are valid",
          "[tls][security][X4]") {
  VerifiedChains chains;
  chains.add(digest_of(1), kNow, 5min);
  CHECK(chains.contains(digest_of(1), kNow + 5min - 1s));
  CHECK_FALSE(chains.contains(digest_of(1), kNow + 5min));
  chains.add(digest_of(2), kNow, 0s);
  CHECK_FALSE(chains.contains(digest_of(2), kNow));
  chains.add(digest_of(3), kNow, -1s);
  CHECK_FALSE(chains.contains(digest_of(3), kNow));
}

TEST_CASE("verified chains: a clock that was set back forgets them", "[tls][security]") {
  VerifiedChains chains;
  chains.add(digest_of(1), kNow, 24h);
  CHECK_FALSE(chains.contains(digest_of(1), kNow - 1s));
  CHECK_FALSE(chains.contains(digest_of(1), kNow));
}

TEST_CASE("verified chains: a later verification starts the hour again", "[tls]") {
  VerifiedChains chains;
  chains.add(digest_of(1), kNow, 24h);
  chains.add(digest_of(1), kNow + 30min, 24h);
  CHECK(chains.contains(digest_of(1), kNow + 80min));
}

TEST_CASE("verified chains: their number is bounded, and the newest is kept", "[tls]") {
  VerifiedChains chains;
  constexpr std::uint64_t kMany = 3 * VerifiedChains::kMaxEntries + 7;
  for (std::uint64_t i = 0; i < kMany; ++i) chains.add(digest_of(i), kNow, 24h);
  CHECK(chains.contains(digest_of(kMany - 1), kNow));
  std::size_t kept = 0;
  for (std::uint64_t i = 0; i < kMany; ++i) kept += chains.contains(digest_of(i), kNow) ? 1 : 0;
  CHECK(kept <= VerifiedChains::kMaxEntries);
}

TEST_CASE("fingerprint: fields that are cut at other places give another fingerprint", "[tls]") {
  const auto of = [](std::string_view a, std::string_view b) {
    return Fingerprint().add(a).add(b).finish();
  };
  CHECK(of("ab", "c") == of("ab", "c"));
  CHECK(of("ab", "c") != of("a", "bc"));
  CHECK(of("abc", "") != of("", "abc"));
  CHECK(Fingerprint().add("").finish() != Fingerprint().finish());
}

}  // namespace
}  // namespace starttls
