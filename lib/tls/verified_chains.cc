#include "lib/tls/verified_chains.h"

#include <algorithm>

namespace starttls::tls {

bool VerifiedChains::contains(const Digest& checked, Clock::time_point now) {
  const std::lock_guard lock(mutex_);
  const auto found = good_.find(checked);
  if (found == good_.end()) return false;
  // A clock that was set back also ends an entry: the chain has not been checked for that time.
  if (found->second.from <= now && now < found->second.until) return true;
  good_.erase(found);
  return false;
}

void VerifiedChains::add(const Digest& checked, Clock::time_point now,
                         std::chrono::seconds valid_for) {
  const std::lock_guard lock(mutex_);
  // Only transparent interception meets more servers than that; their chains are checked again.
  if (good_.size() >= kMaxEntries) good_.clear();
  good_[checked] = {now, now + std::min<std::chrono::seconds>(valid_for, kMaxAge)};
}

}  // namespace starttls::tls
