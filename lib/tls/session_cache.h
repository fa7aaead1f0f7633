#pragma once

#include <cstddef>
#include <deque>
#include <mutex>
#include <string>
#include <unordered_map>

#include "lib/tls/boringssl.h"

namespace starttls::tls {

/// Sessions of the client role, to be resumed. One belongs to one Context, which is one policy, so
/// a session is never resumed under another verification than the one it was made with; inside it,
/// a key says which server under which name. Thread-safe.
///
/// Memory: at most `kMaxSessions`, of one to three KiB each.
class SessionCache {
 public:
  static constexpr std::size_t kMaxSessions = 1024;
  /// Of one server: as many handshakes at once may resume.
  static constexpr std::size_t kMaxPerServer = 64;

  /// Takes over the session. It takes the place of the oldest one where there is no room.
  void put(const std::string& key, bssl::UniquePtr<SSL_SESSION> session);

  /// The newest that can be resumed; null where there is none. One of TLS 1.3 is gone from the
  /// cache then: a ticket that is used twice tells an onlooker who comes back (RFC 8446 appendix
  /// C.4).
  [[nodiscard]] bssl::UniquePtr<SSL_SESSION> take(const std::string& key);

 private:
  std::mutex mutex_;
  std::unordered_map<std::string, std::deque<bssl::UniquePtr<SSL_SESSION>>> sessions_;
  std::size_t size_ = 0;
};

}  // namespace starttls::tls
