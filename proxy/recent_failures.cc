#include "proxy/recent_failures.h"

#include <algorithm>
#include <utility>

namespace starttls {
namespace {

bool is_same(const session::FailedSession& a, const session::FailedSession& b) {
  return a.service == b.service && a.outcome == b.outcome && a.reason == b.reason;
}

}  // namespace

void RecentFailures::add(session::FailedSession failed, UnixTime now) {
  if (failed.reason.size() > kMaxReason) {
    failed.reason.resize(kMaxReason);
    failed.reason += "...";
  }
  const std::lock_guard lock(mutex_);
  std::uint64_t times = 1;
  const auto same = std::find_if(entries_.begin(), entries_.end(), [&failed](const Entry& each) {
    return is_same(each.last, failed);
  });
  if (same != entries_.end()) {
    times += same->times;
    entries_.erase(same);
  } else if (entries_.size() == kMaxEntries) {
    entries_.erase(entries_.begin());
  }
  entries_.push_back({std::move(failed), now, times});
}

std::vector<RecentFailures::Entry> RecentFailures::all() const {
  const std::lock_guard lock(mutex_);
  return {entries_.rbegin(), entries_.rend()};
}

}  // namespace starttls
