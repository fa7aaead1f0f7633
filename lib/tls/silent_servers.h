#pragma once

#include <chrono>
#include <cstddef>
#include <mutex>
#include <string>
#include <unordered_map>

namespace starttls::tls {

/// Servers that did not answer a large ClientHello. One with a post-quantum key share and a ticket
/// takes two segments, and some old middleboxes and servers drop it. Such a server gets one without
/// that key share for a while. Thread-safe; bounded.
class SilentServers {
 public:
  using Clock = std::chrono::steady_clock;

  static constexpr std::size_t kMaxServers = 256;
  static constexpr std::chrono::hours kMemory{24};

  /// Notes that `server` did not answer at `now`. If there is no room, it replaces the server that
  /// was noted first.
  void add(const std::string& server, Clock::time_point now);
  /// True if `server` was noted less than `kMemory` ago.
  [[nodiscard]] bool contains(const std::string& server, Clock::time_point now) const;

 private:
  mutable std::mutex mutex_;
  std::unordered_map<std::string, Clock::time_point> noted_;  // by server: when
};

}  // namespace starttls::tls
