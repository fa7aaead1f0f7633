#pragma once

#include <chrono>
#include <cstddef>
#include <map>
#include <mutex>

#include "lib/tls/fingerprint.h"

namespace starttls::tls {

/// A cache of the chains that one Context has found good, by a digest of what was checked. The same
/// server shows the same chain again and again, and two signatures cost as much as a handshake.
/// Thread-safe. Memory: at most `kMaxEntries` of about 100 bytes.
class VerifiedChains {
 public:
  using Clock = std::chrono::system_clock;  // certificates end by the wall clock

  static constexpr std::size_t kMaxEntries = 1024;
  static constexpr std::chrono::hours kMaxAge{1};

  [[nodiscard]] bool contains(const Digest& checked, Clock::time_point now);
  /// Adds an entry. `valid_for` is the time until the first certificate of the path ends.
  void add(const Digest& checked, Clock::time_point now, std::chrono::seconds valid_for);

 private:
  struct Span {
    Clock::time_point from;
    Clock::time_point until;
  };

  std::mutex mutex_;
  std::map<Digest, Span> good_;
};

}  // namespace starttls::tls
