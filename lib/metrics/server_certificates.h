#pragma once

#include <cstddef>
#include <mutex>
#include <string>
#include <vector>

#include "lib/base/utc.h"

namespace starttls::metrics {

/// Keeps the ends of the certificates that the servers of one service have shown. Workers write
/// once per full handshake. Thread-safe.
class ServerCertificates {
 public:
  /// The most servers that are kept. Only intercepted clients lead to more, and then the last ones
  /// count.
  static constexpr std::size_t kMaxServers = 16;

  struct Seen {
    std::string server;  ///< the address, as the configuration or an intercepted client names it
    UnixTime not_after;
  };

  /// Notes that `server` has shown a certificate that is accepted and ends at `not_after`.
  void note(std::string server, UnixTime not_after);
  /// Returns one entry per server. The one that was noted last is the last one.
  [[nodiscard]] std::vector<Seen> all() const;

 private:
  mutable std::mutex mutex_;  // guards seen_
  std::vector<Seen> seen_;
};

}  // namespace starttls::metrics
