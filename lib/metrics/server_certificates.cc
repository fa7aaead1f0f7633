#include "lib/metrics/server_certificates.h"

#include <utility>

namespace starttls::metrics {

void ServerCertificates::note(std::string server, UnixTime not_after) {
  const std::lock_guard lock(mutex_);
  std::erase_if(seen_, [&server](const Seen& each) { return each.server == server; });
  if (seen_.size() == kMaxServers) seen_.erase(seen_.begin());
  seen_.push_back({std::move(server), not_after});
}

std::vector<ServerCertificates::Seen> ServerCertificates::all() const {
  const std::lock_guard lock(mutex_);
  return seen_;
}

}  // namespace starttls::metrics
