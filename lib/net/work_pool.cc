#include "lib/net/work_pool.h"

#include <algorithm>
#include <utility>

#include "lib/net/thread.h"

namespace starttls::net {

WorkPool::~WorkPool() {
  std::map<Lane, Queue> dropped;  // destroyed without the lock: a job may be given up meanwhile
  {
    const std::lock_guard lock(mutex_);
    ends_ = true;
    turns_.clear();
    dropped.swap(queues_);
  }
  wake_.notify_all();
  for (auto& thread : threads_) thread.join();
}

Result<> WorkPool::start() {
  while (threads_.size() < kThreads) {
    auto started = start_thread("logins", [this] { work(); });
    if (!started) return fail(std::move(started.error()));
    threads_.push_back(std::move(*started));
  }
  const std::lock_guard lock(mutex_);
  started_ = true;
  return {};
}

std::unique_ptr<WorkPool::Job> WorkPool::submit(Loop& loop, Lane lane, std::function<void()> work,
                                                std::function<void()> done) {
  const std::shared_ptr<Item> item(new Item{loop, lane, std::move(work), std::move(done)});
  {
    const std::lock_guard lock(mutex_);
    if (!started_) return nullptr;
    Queue& queue = queues_[lane];
    if (queue.items.size() >= kMaxWaiting) return nullptr;
    if (queue.items.empty() && !queue.busy) turns_.push_back(lane);
    queue.items.push_back(item);
  }
  wake_.notify_one();
  return std::unique_ptr<Job>(new Job(*this, item));
}

WorkPool::Job::~Job() {
  item_->done = nullptr;
  pool_.forget(item_);
}

/// Takes work out of its queue, if it waits there.
void WorkPool::forget(const std::shared_ptr<Item>& item) {
  const std::lock_guard lock(mutex_);
  const auto found = queues_.find(item->lane);
  if (found == queues_.end()) return;
  auto& [items, busy] = found->second;
  std::erase(items, item);
  if (!items.empty() || busy) return;
  std::erase(turns_, item->lane);
  queues_.erase(found);
}

void WorkPool::work() {
  std::unique_lock lock(mutex_);
  while (const auto item = next(lock)) {
    lock.unlock();
    item->work();
    item->work = nullptr;  // it may hold a secret, which goes now
    item->loop.post([item] {
      if (const auto done = std::exchange(item->done, nullptr)) done();
    });
    lock.lock();
    finished(item->lane);
  }
}

/// Waits for work and takes it. Returns null at the end.
std::shared_ptr<WorkPool::Item> WorkPool::next(std::unique_lock<std::mutex>& lock) {
  wake_.wait(lock, [this] { return ends_ || !turns_.empty(); });
  if (ends_) return nullptr;
  const Lane lane = turns_.front();
  turns_.pop_front();
  Queue& queue = queues_[lane];
  queue.busy = true;
  auto item = std::move(queue.items.front());
  queue.items.pop_front();
  return item;
}

/// Gives the lane its next turn after all others.
void WorkPool::finished(const Lane& lane) {
  const auto found = queues_.find(lane);
  if (found == queues_.end()) return;  // the end
  found->second.busy = false;
  if (found->second.items.empty()) {
    queues_.erase(found);
  } else {
    turns_.push_back(lane);
    wake_.notify_one();
  }
}

}  // namespace starttls::net
