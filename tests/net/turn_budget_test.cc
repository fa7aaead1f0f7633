#include "lib/net/turn_budget.h"

#include <algorithm>
#include <memory>
#include <vector>

#include "tests/support/catch.h"

using namespace std::chrono_literals;
using starttls::net::TurnBudget;

namespace {

/// A loop in which only steps take time.
struct Fixture {
  static inline std::chrono::nanoseconds now{};

  bool step(std::chrono::nanoseconds takes) {
    if (!steps.has_room(turn)) return false;
    spend(takes);
    return true;
  }
  void spend(std::chrono::nanoseconds takes) {
    steps.run([takes] {
      now += takes;
      return 0;
    });
  }
  /// Waits for a turn, then uses `takes` of time.
  std::unique_ptr<TurnBudget::Place> wait(int name, std::chrono::nanoseconds takes,
                                          TurnBudget::Lane lane = {}) {
    return std::make_unique<TurnBudget::Place>(steps, lane, [this, name, takes] {
      order.push_back(name);
      spend(takes);
    });
  }
  std::size_t next_turn() {
    const auto before = order.size();
    steps.on_turn(++turn);
    return order.size() - before;
  }

  std::uint64_t turn = 1;
  int wakes = 0;
  std::vector<int> order;
  TurnBudget steps{[]() noexcept { return now; }, [this] { ++wakes; }};
};

}  // namespace

TEST_CASE("steps: a turn has room until its budget is spent, and the next turn has room again",
          "[net][steps]") {
  Fixture loop;
  int done = 0;
  while (loop.step(300us)) ++done;
  CHECK(done == 4);  // the last one may exceed it
  CHECK_FALSE(loop.step(1us));
  ++loop.turn;
  CHECK(loop.step(5ms));
  CHECK_FALSE(loop.step(1us));
}

TEST_CASE("steps: in a storm no turn is longer than the budget and a step, and all are served",
          "[net][steps]") {
  Fixture loop;
  std::vector<std::unique_ptr<TurnBudget::Place>> places;
  int at_once = 0;
  for (int i = 0; i < 500; ++i) {
    if (loop.step(250us)) {
      ++at_once;
    } else {
      places.push_back(loop.wait(i, 250us));
    }
  }
  CHECK(at_once == 4);
  CHECK(loop.wakes == 496);
  int turns = 0;
  while (loop.steps.waiting() > 0) {
    REQUIRE(++turns < 500);
    loop.wakes = 0;
    CHECK(loop.next_turn() == 4);
    CHECK((loop.wakes > 0) == (loop.steps.waiting() > 0));
  }
  CHECK(turns == 124);
  CHECK(std::is_sorted(loop.order.begin(), loop.order.end()));
}

TEST_CASE("steps: a new step does not overtake one that waits", "[net][steps]") {
  Fixture loop;
  CHECK(loop.step(1ms));
  const auto place = loop.wait(1, 1us);
  ++loop.turn;
  CHECK_FALSE(loop.step(1us));  // there is time, but another place waits
  CHECK(loop.next_turn() == 1);
  CHECK(loop.step(1us));
}

TEST_CASE("steps: a peer that sends slowly uses no room", "[net][steps]") {
  Fixture loop;
  std::vector<std::unique_ptr<TurnBudget::Place>> places;
  CHECK(loop.step(1ms));
  for (int i = 0; i < 1000; ++i) places.push_back(loop.wait(i, 0us));
  places.push_back(loop.wait(1000, 1ms));
  CHECK(loop.next_turn() == 1001);
}

TEST_CASE("steps: a destroyed place leaves the queue, also from inside a turn", "[net][steps]") {
  Fixture loop;
  auto first = loop.wait(1, 1us);
  auto second = loop.wait(2, 1us);
  auto third = loop.wait(3, 1us);
  second.reset();
  CHECK(loop.next_turn() == 2);
  CHECK(loop.order == std::vector<int>{1, 3});
  first.reset();

  std::unique_ptr<TurnBudget::Place> victim;
  auto killer =
      std::make_unique<TurnBudget::Place>(loop.steps, TurnBudget::Lane{}, [&] { victim.reset(); });
  victim = loop.wait(4, 1us);
  CHECK(loop.next_turn() == 0);
  CHECK(loop.steps.waiting() == 0);

  std::unique_ptr<TurnBudget::Place> own;
  own = std::make_unique<TurnBudget::Place>(loop.steps, TurnBudget::Lane{}, [&] { own.reset(); });
  CHECK(loop.next_turn() == 0);
}

TEST_CASE("steps: R4: a flood in one lane delays another lane by one step", "[net][steps][R4]") {
  const int services[2] = {};
  const TurnBudget::Lane flooded{.service = &services[0]};
  const TurnBudget::Lane quiet{.service = &services[1]};
  const TurnBudget::Lane servers{.service = &services[0], .side = starttls::Side::upstream};
  Fixture loop;
  std::vector<std::unique_ptr<TurnBudget::Place>> places;
  CHECK(loop.step(5ms));
  for (int i = 0; i < 500; ++i) places.push_back(loop.wait(i, 6ms, flooded));
  CHECK(loop.next_turn() == 1);

  places.push_back(loop.wait(1001, 200us, quiet));
  places.push_back(loop.wait(1002, 200us, servers));
  places.push_back(loop.wait(1003, 200us, quiet));
  while (loop.steps.waiting(quiet) + loop.steps.waiting(servers) > 0) {
    REQUIRE(loop.next_turn() > 0);
  }
  // One step of the flood ran before the others came. At most one more runs before the last of
  // them.
  const auto last =
      std::find_if(loop.order.rbegin(), loop.order.rend(), [](int name) { return name > 1000; });
  CHECK(std::distance(last, loop.order.rend()) <= 5);
}

TEST_CASE("steps: R4: lanes share the time, however long their steps are", "[net][steps][R4]") {
  const int services[2] = {};
  Fixture loop;
  std::vector<std::unique_ptr<TurnBudget::Place>> places;
  for (int i = 0; i < 100; ++i) {
    places.push_back(loop.wait(0, 5ms, {.service = &services[0]}));
    places.push_back(loop.wait(1, 500us, {.service = &services[1]}));
  }
  while (loop.order.size() < 55) loop.next_turn();
  const auto cheap = std::count(loop.order.begin(), loop.order.end(), 1);
  CHECK(cheap >= 45);
  CHECK(cheap <= 51);
}

TEST_CASE("steps: R4: a lane is full when too many wait in it", "[net][steps][R4]") {
  const int services[2] = {};
  const TurnBudget::Lane flooded{.service = &services[0]};
  Fixture loop;
  std::vector<std::unique_ptr<TurnBudget::Place>> places;
  for (std::size_t i = 0; i < TurnBudget::kMaxWaiting; ++i) {
    CHECK_FALSE(loop.steps.is_full(flooded));
    places.push_back(loop.wait(0, 1ms, flooded));
  }
  CHECK(loop.steps.is_full(flooded));
  CHECK_FALSE(loop.steps.is_full({.service = &services[1]}));
  CHECK_FALSE(loop.steps.is_full({.service = &services[0], .side = starttls::Side::upstream}));
  places.pop_back();
  CHECK_FALSE(loop.steps.is_full(flooded));
}
