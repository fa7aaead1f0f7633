#include "lib/base/repeats.h"

#include <string>

#include "tests/support/catch.h"

using namespace starttls;
using log::Fault;
using log::Repeats;

namespace {

Fault refused(std::string reason = "connection refused") {
  return {"session failed", "office", "upstream", "unreachable", std::move(reason)};
}

constexpr Repeats::Clock::time_point kStart{};

}  // namespace

TEST_CASE("repeats: the first of equal faults are logged, the others counted", "[base]") {
  Repeats repeats;
  std::uint64_t told = 0;
  for (int i = 0; i < 100; ++i) told += repeats.admit(refused(), kStart) ? 1 : 0;
  CHECK(told == Repeats::kTold);
  CHECK(repeats.admit(refused("no route"), kStart));  // another error

  CHECK(repeats.take(kStart + Repeats::kWindow / 2).empty());
  const auto held = repeats.take(kStart + Repeats::kWindow);
  REQUIRE(held.size() == 1);
  CHECK(held[0].fault == refused());
  CHECK(held[0].times == 100 - Repeats::kTold);
}

TEST_CASE("repeats: a fault is logged again after its minute", "[base]") {
  Repeats repeats;
  for (std::uint64_t i = 0; i < Repeats::kTold; ++i) CHECK(repeats.admit(refused(), kStart));
  CHECK_FALSE(repeats.admit(refused(), kStart));
  CHECK(repeats.take(kStart + Repeats::kWindow).size() == 1);
  CHECK(repeats.admit(refused(), kStart + Repeats::kWindow));
}

TEST_CASE("repeats: everything that was counted is logged at the end", "[base]") {
  Repeats repeats;
  for (std::uint64_t i = 0; i <= Repeats::kTold; ++i) {
    static_cast<void>(repeats.admit(refused(), kStart));
  }
  const auto held = repeats.take(kStart, true);
  REQUIRE(held.size() == 1);
  CHECK(held[0].times == 1);
  CHECK(repeats.take(kStart, true).empty());
}

TEST_CASE("repeats: the number of different reasons is bounded", "[base][security]") {
  Repeats repeats;
  std::uint64_t told = 0;
  for (int i = 0; i < 10'000; ++i) {
    told += repeats.admit(refused("reason " + std::to_string(i)), kStart) ? 1 : 0;
  }
  CHECK(told == Repeats::kMaxFaults + Repeats::kTold);
  const auto held = repeats.take(kStart, true);
  REQUIRE(held.size() == 1);
  CHECK(held[0].fault.reason == Repeats::kVarious);
  CHECK(held[0].times == 10'000 - told);
}
