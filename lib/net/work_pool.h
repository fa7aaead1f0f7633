#pragma once

// Work that would hold up an event loop: hashing of passwords, reading of files. A few threads do
// it for all loops of a process.
//
// There is a queue per lane, and each lane has at most one thread at a time. The lanes take turns,
// so a flood in one of them delays another one by a single piece of work. A read that never ends
// takes the thread of its own lane only.

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

#include "lib/base/error.h"
#include "lib/net/loop.h"

namespace starttls::net {

/// Thread-safe, except for `start`. The loops outlive it.
class WorkPool {
  struct Item;

 public:
  static constexpr std::size_t kThreads = 4;
  /// The most that may wait in one lane.
  static constexpr std::size_t kMaxWaiting = 64;

  /// A queue of work, which is done in order.
  struct Lane {
    const void* owner = nullptr;  ///< only compared
    std::uint8_t kind = 0;

    auto operator<=>(const Lane&) const = default;
  };

  WorkPool() = default;
  WorkPool(const WorkPool&) = delete;
  WorkPool& operator=(const WorkPool&) = delete;
  /// Drops the work that waits, and waits for the work under way.
  ~WorkPool();

  /// Starts the threads that do not run yet. They may do what the calling thread may do, so call it
  /// from a thread that may still read files. Errors: system; no work is done then.
  [[nodiscard]] Result<> start();

  /// A piece of work. Its owner may destroy it, and so give it up, at any time on its loop's
  /// thread; nothing is reported then.
  class Job {
   public:
    Job(const Job&) = delete;
    Job& operator=(const Job&) = delete;
    ~Job();

   private:
    friend WorkPool;
    Job(WorkPool& pool, std::shared_ptr<Item> item) noexcept
        : pool_(pool), item_(std::move(item)) {}

    WorkPool& pool_;
    std::shared_ptr<Item> item_;
  };

  /// Does `work` on a thread of the pool, which must use nothing of the caller's. Then `done` is
  /// called once on `loop`'s thread, from the loop. Called on that thread, too. Returns null if too
  /// much waits in the lane, or if there are no threads.
  template <class T>
  [[nodiscard]] std::unique_ptr<Job> run(Loop& loop, Lane lane, std::function<T()> work,
                                         std::function<void(T)> done) {
    auto result = std::make_shared<std::optional<T>>();
    return submit(
        loop, lane, [result, work = std::move(work)] { *result = work(); },
        [result, done = std::move(done)] { done(std::move(**result)); });
  }

 private:
  struct Item {
    Loop& loop;
    Lane lane;
    std::function<void()> work;  // of the pool's thread, once it is out of the queue
    std::function<void()> done;  // on the loop's thread only; empty: called, or given up
  };
  struct Queue {
    std::deque<std::shared_ptr<Item>> items;
    bool busy = false;  // a thread works for it
  };

  [[nodiscard]] std::unique_ptr<Job> submit(Loop& loop, Lane lane, std::function<void()> work,
                                            std::function<void()> done);
  void forget(const std::shared_ptr<Item>& item);
  void work();
  [[nodiscard]] std::shared_ptr<Item> next(std::unique_lock<std::mutex>& lock);
  void finished(const Lane& lane);

  std::vector<std::thread> threads_;  // the caller's of `start`
  std::mutex mutex_;                  // guards everything below
  std::condition_variable wake_;
  std::map<Lane, Queue> queues_;  // those with work
  std::deque<Lane> turns_;        // those that wait for a thread
  bool started_ = false;
  bool ends_ = false;
};

}  // namespace starttls::net
