#include "lib/base/repeats.h"

#include <utility>

namespace starttls::log {

bool Repeats::admit(Fault fault, Clock::time_point now) {
  if (seen_.size() >= kMaxFaults && !seen_.contains(fault)) fault.reason = kVarious;
  Seen& seen = seen_.try_emplace(std::move(fault), Seen{now}).first->second;
  return ++seen.times <= kTold;
}

std::vector<Repeats::Held> Repeats::take(Clock::time_point now, bool everything) {
  std::vector<Held> held;
  for (auto each = seen_.begin(); each != seen_.end();) {
    if (!everything && now - each->second.since < kWindow) {
      ++each;
      continue;
    }
    auto node = seen_.extract(each++);
    if (node.mapped().times > kTold) {
      held.push_back({std::move(node.key()), node.mapped().times - kTold});
    }
  }
  return held;
}

}  // namespace starttls::log
