#include "lib/session/upstream/warm_plan.h"

#include <algorithm>

namespace starttls::session {
namespace {

/// Returns a random part of `time`, from `least` to 1.
WarmPlan::Time part_of(WarmPlan::Time time, double least, double chance) {
  const double part = least + (1 - least) * chance;
  return WarmPlan::Time{static_cast<WarmPlan::Time::rep>(static_cast<double>(time.count()) * part)};
}

}  // namespace

std::size_t WarmPlan::to_open(Open open, Time now) const noexcept {
  const std::size_t at_once = cautious_ ? 1 : kAtOnce;
  const std::size_t useful = open.ready + open.opening;
  const std::size_t all = useful + open.leaving;
  const std::size_t most = most_open(wanted_);
  if (now < paused_until_ || open.opening >= at_once || useful >= wanted_ || all >= most) return 0;
  return std::min({wanted_ - useful, at_once - open.opening, most - all});
}

WarmPlan::Time WarmPlan::lifetime(Time now, double chance) noexcept {
  if (now >= learned_at_ + kMemory) age_limit_ = kMaxAge;
  return part_of(age_limit_, 0.75, chance);
}

void WarmPlan::on_failed(Time now, double chance) noexcept {
  cautious_ = true;
  if (now < paused_until_) return;  // begun together with the one that failed first
  pause_ = std::clamp(2 * pause_, kFirstPause, kLastPause);
  paused_until_ = now + part_of(pause_, 0.5, chance);
}

void WarmPlan::on_lost(Time age, Time now, double chance) noexcept {
  const Time limit = std::clamp(age * 3 / 4, kMinAge, kMaxAge);
  if (limit < age_limit_) {
    age_limit_ = limit;
    learned_at_ = now;
  }
  if (age < kMinAge) on_failed(now, chance);
}

}  // namespace starttls::session
