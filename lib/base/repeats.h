#pragma once

// A server that is down causes the same fault with every client. The log shows the first of them,
// counts the others, and reports their number once a minute.

#include <chrono>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace starttls::log {

/// The fields that make two faults the same.
struct Fault {
  std::string message;
  std::string service;
  std::string leg;
  std::string error;   ///< name(Errc)
  std::string reason;  ///< kVarious if there are more than kMaxFaults kinds

  friend auto operator<=>(const Fault&, const Fault&) = default;
};

/// Decides which faults are logged, and counts the others. It has no clock. Not thread-safe.
class Repeats {
 public:
  using Clock = std::chrono::steady_clock;
  /// The number of times per minute that one fault is logged by itself.
  static constexpr std::uint64_t kTold = 20;
  static constexpr std::chrono::seconds kWindow{60};
  /// A bound, because a peer may cause any number of reasons. Services, legs and errors are few.
  static constexpr std::size_t kMaxFaults = 256;
  static constexpr std::string_view kVarious = "various";

  /// True if this fault must be logged now. Otherwise it is counted.
  [[nodiscard]] bool admit(Fault fault, Clock::time_point now);

  struct Held {
    Fault fault;
    std::uint64_t times = 0;  ///< how often it was not logged
  };
  /// Returns the counts of faults that were held back and have had their minute. These faults are
  /// counted anew from zero. With `everything` it does so for all faults.
  [[nodiscard]] std::vector<Held> take(Clock::time_point now, bool everything = false);

 private:
  struct Seen {
    Clock::time_point since;
    std::uint64_t times = 0;
  };
  std::map<Fault, Seen> seen_;
};

}  // namespace starttls::log
