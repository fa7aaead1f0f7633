#pragma once

#include <cstddef>
#include <cstdint>
#include <mutex>
#include <string>
#include <vector>

#include "lib/base/utc.h"
#include "lib/session/session_record.h"

namespace starttls {

/// Keeps the last failures of sessions, for the admin page. Equal ones are one entry with a count,
/// so a flood of one kind does not hide the others. Thread-safe.
class RecentFailures {
 public:
  static constexpr std::size_t kMaxEntries = 20;
  /// The most bytes of a reason. The session's line has all of it.
  static constexpr std::size_t kMaxReason = 300;

  struct Entry {
    session::FailedSession last;  ///< the last of `times` sessions
    UnixTime at;                  ///< its end
    std::uint64_t times = 1;
  };

  void add(session::FailedSession failed, UnixTime now);
  /// Returns the entries, newest first.
  [[nodiscard]] std::vector<Entry> all() const;

 private:
  mutable std::mutex mutex_;    // guards entries_
  std::vector<Entry> entries_;  // oldest first
};

}  // namespace starttls
