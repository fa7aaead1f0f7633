#include "lib/net/turn_budget.h"

#include <algorithm>
#include <utility>

namespace starttls::net {

TurnBudget::TurnBudget(Clock clock, std::function<void()> wake)
    : clock_(clock), wake_(std::move(wake)) {}

void TurnBudget::begin(std::uint64_t turn) noexcept {
  if (std::exchange(turn_, turn) != turn) spent_ = {};
}

/// True if a step may be done in this turn. Without a limit a storm of handshakes would fill the
/// turn, and running sessions would wait.
bool TurnBudget::has_room(std::uint64_t turn) noexcept {
  begin(turn);
  return waiting_ == 0 && spent_ < kBudget;
}

TurnBudget::Queues::iterator TurnBudget::next_lane() {
  return std::min_element(queues_.begin(), queues_.end(), [](const auto& a, const auto& b) {
    return a.second.used < b.second.used;
  });
}

void TurnBudget::on_turn(std::uint64_t turn) {
  begin(turn);
  serving_ = true;
  while (waiting_ > 0 && spent_ < kBudget) {
    const auto queue = next_lane();
    const Lane lane = queue->first;
    Place& first = *queue->second.places.front();
    const auto call = std::move(first.on_turn_);  // it may drop the place
    // The lane keeps its account until the call is over, even if this was its last step.
    const auto used_before = queue->second.used;
    remove(first);
    const auto start = clock_();
    call();
    const auto took = clock_() - start;
    spent_ += took;
    if (const auto still = queues_.find(lane); still != queues_.end()) {
      still->second.used = std::max(still->second.used, used_before) + took;
    }
  }
  serving_ = false;
  if (waiting_ > 0) wake_();
}

std::size_t TurnBudget::waiting(Lane lane) const noexcept {
  const auto queue = queues_.find(lane);
  return queue == queues_.end() ? 0 : queue->second.places.size();
}

void TurnBudget::remove(Place& place) {
  const auto queue = queues_.find(place.lane_);
  queue->second.places.erase(place.at_);
  if (queue->second.places.empty()) queues_.erase(queue);
  place.waits_ = false;
  --waiting_;
}

TurnBudget::Place::Place(TurnBudget& steps, Lane lane, std::function<void()> on_turn)
    : steps_(steps), lane_(lane), on_turn_(std::move(on_turn)) {
  auto queue = steps.queues_.find(lane);
  if (queue == steps.queues_.end()) {
    const auto least = steps.next_lane();
    const auto used =
        least == steps.queues_.end() ? std::chrono::nanoseconds{} : least->second.used;
    queue = steps.queues_.emplace(lane, Queue{.places = {}, .used = used}).first;
  }
  auto& places = queue->second.places;
  at_ = places.insert(places.end(), this);
  ++steps.waiting_;
  steps.wake_();
}

TurnBudget::Place::~Place() {
  if (waits_) steps_.remove(*this);
}

}  // namespace starttls::net
