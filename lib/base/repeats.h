#pragma once

// A server that is down makes the same fault with every client. The log tells the first of them,
// counts the others, and says once a minute how many there were.

#include <chrono>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace starttls::log {

/// What makes two faults the same.
struct Fault {
  std::string message;
  std::string service;
  std::string leg;
  std::string error;   ///< name(Errc)
  std::string reason;  ///< kVarious: of more kinds than are told apart

  friend auto operator<=>(const Fault&, const Fault&) = default;
};

/// Without a clock of its own. Not thread-safe.
class Repeats {
 public:
  using Clock = std::chrono::steady_clock;
  /// Of one fault, so many a minute are told one by one.
  static constexpr std::uint64_t kTold = 20;
  static constexpr std::chrono::seconds kWindow{60};
  /// A peer may make reasons; services, legs and errors are few.
  static constexpr std::size_t kMaxFaults = 256;
  static constexpr std::string_view kVarious = "various";

  /// Whether this one is to be told. Otherwise it is counted.
  [[nodiscard]] bool admit(Fault fault, Clock::time_point now);

  struct Held {
    Fault fault;
    std::uint64_t times = 0;  ///< that were not told
  };
  /// What was counted of those whose minute is over, which begin anew; `everything`: of all.
  [[nodiscard]] std::vector<Held> take(Clock::time_point now, bool everything = false);

 private:
  struct Seen {
    Clock::time_point since;
    std::uint64_t times = 0;
  };
  std::map<Fault, Seen> seen_;
};

}  // namespace starttls::log
