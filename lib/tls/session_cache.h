#pragma once

#include <cstddef>
#include <deque>
#include <mutex>
#include <string>
#include <unordered_map>

#include "lib/tls/boringssl.h"

namespace starttls::tls {

/// Sessions of the client role, to be resumed. A cache belongs to one Context, which is one policy,
/// so a session is never resumed under a different verification than its own. Inside the cache, a
/// key is a server and the name asked of it. Thread-safe.
///
/// Memory: at most `kMaxSessions`, of one to three KiB each.
class SessionCache {
 public:
  static constexpr std::size_t kMaxSessions = 1024;
  /// Maximum sessions of one server: this many handshakes at once may resume.
  static constexpr std::size_t kMaxPerServer = 64;

  /// Takes over the session. If there is no room, it replaces the server's oldest one, or those of
  /// another server.
  void put(const std::string& key, bssl::UniquePtr<SSL_SESSION> session);

  /// Returns the newest session that can be resumed; null if there is none. A session of TLS 1.3 is
  /// removed from the cache. If a ticket were used twice, an observer could link the two
  /// connections (RFC 8446 appendix C.4).
  [[nodiscard]] bssl::UniquePtr<SSL_SESSION> take(const std::string& key);

 private:
  std::mutex mutex_;
  std::unordered_map<std::string, std::deque<bssl::UniquePtr<SSL_SESSION>>> sessions_;
  std::size_t size_ = 0;
};

}  // namespace starttls::tls
