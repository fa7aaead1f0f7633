#include "lib/session/upstream/warm_plan.h"

#include "tests/support/catch.h"

using namespace std::chrono_literals;
using starttls::session::WarmPlan;
using Time = WarmPlan::Time;

namespace {

constexpr Time kNow = 1h;

}  // namespace

TEST_CASE("warm plan: it opens missing connections, a few at a time", "[session][warm]") {
  const WarmPlan plan(10);
  CHECK(plan.to_open({0, 0}, kNow) == WarmPlan::kAtOnce);
  CHECK(plan.to_open({0, 1}, kNow) == WarmPlan::kAtOnce - 1);
  CHECK(plan.to_open({0, WarmPlan::kAtOnce}, kNow) == 0);
  CHECK(plan.to_open({9, 0}, kNow) == 1);
  CHECK(plan.to_open({9, 1}, kNow) == 0);
  CHECK(plan.to_open({10, 0}, kNow) == 0);
  CHECK(plan.to_open({12, 0}, kNow) == 0);
  CHECK(WarmPlan(1).to_open({0, 0}, kNow) == 1);
}

TEST_CASE("warm plan: R5: connections that leave take places too", "[session][warm][R5]") {
  const WarmPlan plan(10);
  CHECK(WarmPlan::most_open(10) == 10 + WarmPlan::kAtOnce);
  CHECK(plan.to_open({.ready = 9, .opening = 0, .leaving = 1}, kNow) == 1);
  CHECK(plan.to_open({.ready = 0, .opening = 0, .leaving = 10}, kNow) == 4);
  CHECK(plan.to_open({.ready = 0, .opening = 2, .leaving = 10}, kNow) == 2);
  CHECK(plan.to_open({.ready = 2, .opening = 2, .leaving = 9}, kNow) == 1);
  // The server has ended all of them. New ones are opened as those leave.
  CHECK(plan.to_open({.ready = 4, .opening = 0, .leaving = 10}, kNow) == 0);
  CHECK(plan.to_open({.ready = 4, .opening = 0, .leaving = 20}, kNow) == 0);
  CHECK(plan.to_open({.ready = 4, .opening = 0, .leaving = 8}, kNow) == 2);
}

TEST_CASE("warm plan: it pauses after a failure, twice as long each time, up to a minute",
          "[session][warm]") {
  WarmPlan plan(10);
  Time now = kNow;
  Time expected = WarmPlan::kFirstPause;
  for (int i = 0; i < 10; ++i) {
    plan.on_failed(now, 1);
    CHECK(plan.paused_until() == now + expected);
    CHECK(plan.to_open({0, 0}, now) == 0);
    CHECK(plan.to_open({0, 0}, plan.paused_until() - 1ms) == 0);
    now = plan.paused_until();
    CHECK(plan.to_open({0, 0}, now) == 1);  // a cautious try
    CHECK(plan.to_open({0, 1}, now) == 0);
    expected = std::min(2 * expected, WarmPlan::kLastPause);
  }
  CHECK(expected == WarmPlan::kLastPause);
}

TEST_CASE("warm plan: a pause is half to all of its length, by chance", "[session][warm]") {
  WarmPlan least(1);
  least.on_failed(kNow, 0);
  CHECK(least.paused_until() == kNow + WarmPlan::kFirstPause / 2);
  WarmPlan most(1);
  most.on_failed(kNow, 1);
  CHECK(most.paused_until() == kNow + WarmPlan::kFirstPause);
}

TEST_CASE("warm plan: attempts that fail together are one failure", "[session][warm]") {
  WarmPlan plan(10);
  for (int i = 0; i < 4; ++i) plan.on_failed(kNow + Time{i}, 1);
  CHECK(plan.paused_until() == kNow + WarmPlan::kFirstPause);
}

TEST_CASE("warm plan: a success ends caution, a connection that was used ends the pauses",
          "[session][warm]") {
  WarmPlan plan(10);
  plan.on_failed(kNow, 1);
  Time now = plan.paused_until();
  plan.on_opened();
  CHECK(plan.to_open({1, 0}, now) == WarmPlan::kAtOnce);
  // The server greets and closes. The pauses still grow.
  plan.on_lost(10ms, now, 1);
  CHECK(plan.paused_until() == now + 2 * WarmPlan::kFirstPause);

  now = plan.paused_until();
  plan.on_served();
  plan.on_failed(now, 1);
  CHECK(plan.paused_until() == now + WarmPlan::kFirstPause);
}

TEST_CASE("warm plan: connections that began together end at different times", "[session][warm]") {
  WarmPlan plan(10);
  CHECK(plan.lifetime(kNow, 1) == WarmPlan::kMaxAge);
  CHECK(plan.lifetime(kNow, 0) == WarmPlan::kMaxAge * 3 / 4);
  CHECK(plan.lifetime(0ms, 1) == WarmPlan::kMaxAge);
}

TEST_CASE("warm plan: it learns from a server that ends connections earlier, for a while",
          "[session][warm]") {
  WarmPlan plan(10);
  plan.on_lost(20s, kNow, 1);
  CHECK(plan.paused_until() <= kNow);  // the loss is no failure
  CHECK(plan.to_open({0, 0}, kNow) == WarmPlan::kAtOnce);
  CHECK(plan.lifetime(kNow, 1) == 15s);
  plan.on_lost(40s, kNow, 1);  // the estimate stays the same
  CHECK(plan.lifetime(kNow, 1) == 15s);
  plan.on_lost(10s, kNow, 1);
  CHECK(plan.lifetime(kNow, 1) == 7500ms);
  CHECK(plan.lifetime(kNow + WarmPlan::kMemory - 1ms, 1) == 7500ms);
  CHECK(plan.lifetime(kNow + WarmPlan::kMemory, 1) == WarmPlan::kMaxAge);
}

TEST_CASE("warm plan: a server that ends them at once counts as failing", "[session][warm]") {
  WarmPlan plan(10);
  plan.on_lost(WarmPlan::kMinAge - 1ms, kNow, 1);
  CHECK(plan.lifetime(kNow, 1) == WarmPlan::kMinAge);
  CHECK(plan.to_open({0, 0}, kNow) == 0);
  CHECK(plan.paused_until() == kNow + WarmPlan::kFirstPause);
}
