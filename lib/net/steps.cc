#include "lib/net/steps.h"

#include <utility>

namespace starttls::net {

Steps::Steps(Clock clock, std::function<void()> wake) : clock_(clock), wake_(std::move(wake)) {}

void Steps::begin(std::uint64_t turn) noexcept {
  if (std::exchange(turn_, turn) != turn) spent_ = {};
}

bool Steps::has_room(std::uint64_t turn) noexcept {
  begin(turn);
  return waiting_.empty() && spent_ < kBudget;
}

void Steps::on_turn(std::uint64_t turn) {
  begin(turn);
  while (!waiting_.empty() && spent_ < kBudget) {
    Place& first = *waiting_.front();
    waiting_.pop_front();
    first.waits_ = false;
    const auto call = std::move(first.on_turn_);  // it may let go of the place
    call();
  }
  if (!waiting_.empty()) wake_();
}

Steps::Place::Place(Steps& steps, std::function<void()> on_turn)
    : steps_(steps),
      on_turn_(std::move(on_turn)),
      at_(steps.waiting_.insert(steps.waiting_.end(), this)) {
  steps_.wake_();
}

Steps::Place::~Place() {
  if (waits_) steps_.waiting_.erase(at_);
}

}  // namespace starttls::net
