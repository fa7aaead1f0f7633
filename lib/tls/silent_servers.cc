#include "lib/tls/silent_servers.h"

#include <algorithm>

namespace starttls::tls {

void SilentServers::add(const std::string& server, Clock::time_point now) {
  const std::lock_guard lock(mutex_);
  if (noted_.size() >= kMaxServers && !noted_.contains(server)) {
    noted_.erase(std::min_element(
        noted_.begin(), noted_.end(),
        [](const auto& one, const auto& other) { return one.second < other.second; }));
  }
  noted_[server] = now;
}

bool SilentServers::contains(const std::string& server, Clock::time_point now) const {
  const std::lock_guard lock(mutex_);
  const auto found = noted_.find(server);
  return found != noted_.end() && now - found->second < kMemory;
}

}  // namespace starttls::tls
