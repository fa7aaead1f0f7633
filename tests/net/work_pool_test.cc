#include "lib/net/work_pool.h"

#include <future>
#include <string>
#include <thread>
#include <vector>

#include "tests/support/catch.h"

using namespace starttls;
using net::Loop;
using net::WorkPool;

namespace {

/// A loop with a pool, and a gate that holds up work until it is opened.
struct Working {
  Working() { REQUIRE(pool.start()); }
  ~Working() { open_gate(); }

  std::unique_ptr<WorkPool::Job> run(WorkPool::Lane lane, const std::string& name) {
    return pool.run<std::string>(
        *loop, lane, [name] { return name; }, [this](std::string done) { on_done(done); });
  }
  /// Occupies the lane's thread. Returns once the thread is there.
  std::unique_ptr<WorkPool::Job> hold(WorkPool::Lane lane) {
    auto arrived = std::make_shared<std::promise<void>>();
    auto job = pool.run<std::string>(
        *loop, lane,
        [arrived, opened = opened] {
          arrived->set_value();
          opened.wait();
          return std::string{"held"};
        },
        [this](std::string done) { on_done(done); });
    arrived->get_future().wait();
    return job;
  }
  void open_gate() {
    if (!std::exchange(is_open, true)) gate.set_value();
  }
  void on_done(const std::string& name) {
    order.push_back(name);
    if (order.size() == awaited) loop->stop();
  }
  /// Runs the loop until that many pieces of work are reported.
  void run_until(std::size_t count) {
    awaited = count;
    loop->run();
  }

  std::unique_ptr<Loop> loop = Loop::create().value();
  WorkPool pool;
  std::promise<void> gate;
  std::shared_future<void> opened = gate.get_future().share();
  bool is_open = false;
  std::vector<std::string> order;
  std::size_t awaited = 0;
};

constexpr int kOwners[2] = {};
constexpr WorkPool::Lane kOneLane{&kOwners[0], 0};
constexpr WorkPool::Lane kOtherLane{&kOwners[1], 0};

}  // namespace

TEST_CASE("work pool: work is done on another thread, and reported from the loop", "[net][work]") {
  Working it;
  std::thread::id worked;
  std::thread::id reported;
  const auto job = it.pool.run<std::thread::id>(
      *it.loop, kOneLane, [] { return std::this_thread::get_id(); },
      [&](std::thread::id id) {
        worked = id;
        reported = std::this_thread::get_id();
        it.loop->stop();
      });
  REQUIRE(job != nullptr);
  it.loop->run();
  CHECK(reported == std::this_thread::get_id());
  CHECK(worked != reported);
}

TEST_CASE("work pool: work of one lane is done in order", "[net][work]") {
  Working it;
  const auto held = it.hold(kOneLane);
  std::vector<std::unique_ptr<WorkPool::Job>> jobs;
  for (const auto* const name : {"a", "b", "c"}) jobs.push_back(it.run(kOneLane, name));
  it.open_gate();
  it.run_until(4);
  CHECK(it.order == std::vector<std::string>{"held", "a", "b", "c"});
}

TEST_CASE("work pool: a lane that is full or held up does not delay another one",
          "[net][work][security]") {
  Working it;
  const auto held = it.hold(kOneLane);
  std::vector<std::unique_ptr<WorkPool::Job>> flood;
  for (std::size_t i = 0; i < WorkPool::kMaxWaiting; ++i) {
    flood.push_back(it.run(kOneLane, "flood"));
    REQUIRE(flood.back() != nullptr);
  }
  CHECK(it.run(kOneLane, "too much") == nullptr);
  const auto other = it.run(kOtherLane, "other");
  REQUIRE(other != nullptr);
  it.run_until(1);
  CHECK(it.order == std::vector<std::string>{"other"});
}

TEST_CASE("work pool: work that is given up is not reported, and makes room", "[net][work]") {
  Working it;
  const auto held = it.hold(kOneLane);
  std::vector<std::unique_ptr<WorkPool::Job>> waiting;
  for (std::size_t i = 0; i < WorkPool::kMaxWaiting; ++i) {
    waiting.push_back(it.run(kOneLane, "given up"));
  }
  waiting.clear();
  const auto last = it.run(kOneLane, "last");
  REQUIRE(last != nullptr);
  it.open_gate();
  it.run_until(2);
  CHECK(it.order == std::vector<std::string>{"held", "last"});
}

TEST_CASE("work pool: work under way may be given up too", "[net][work]") {
  Working it;
  auto held = it.hold(kOneLane);
  held.reset();
  const auto last = it.run(kOneLane, "last");
  it.open_gate();
  it.run_until(1);
  CHECK(it.order == std::vector<std::string>{"last"});
}

TEST_CASE("work pool: without threads there is no work", "[net][work]") {
  const auto loop = Loop::create().value();
  WorkPool pool;
  const auto one = [] { return 1; };
  const auto ignore = [](int) {};
  CHECK(pool.run<int>(*loop, kOneLane, one, ignore) == nullptr);
}
