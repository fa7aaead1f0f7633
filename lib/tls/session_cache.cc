#include "lib/tls/session_cache.h"

#include <utility>

namespace starttls::tls {

void SessionCache::put(const std::string& key, bssl::UniquePtr<SSL_SESSION> session) {
  const std::lock_guard lock(mutex_);
  if (size_ >= kMaxSessions && !sessions_.contains(key)) {
    // Evict any server's sessions: there are many servers, and most are never met again.
    const auto victim = sessions_.begin();
    size_ -= victim->second.size();
    sessions_.erase(victim);
  }
  auto& of_server = sessions_[key];
  // One session of TLS 1.2 serves all connections.
  const bool single_use = SSL_SESSION_should_be_single_use(session.get()) == 1;
  const std::size_t limit = single_use ? kMaxPerServer : 1;
  while (!of_server.empty() && (of_server.size() >= limit || size_ >= kMaxSessions)) {
    of_server.pop_front();
    --size_;
  }
  of_server.push_back(std::move(session));
  ++size_;
}

bssl::UniquePtr<SSL_SESSION> SessionCache::take(const std::string& key) {
  const std::lock_guard lock(mutex_);
  const auto found = sessions_.find(key);
  if (found == sessions_.end()) return nullptr;
  auto& of_server = found->second;
  if (SSL_SESSION_should_be_single_use(of_server.back().get()) == 0) {
    return bssl::UpRef(of_server.back());
  }
  auto session = std::move(of_server.back());
  of_server.pop_back();
  --size_;
  if (of_server.empty()) sessions_.erase(found);
  return session;
}

}  // namespace starttls::tls
