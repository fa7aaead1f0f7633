#pragma once

// Decides when a pool of warm connections opens new ones, and how old they may become. Pure: times
// are the loop's, and random numbers are passed in.

#include <chrono>
#include <cstddef>

namespace starttls::session {

class WarmPlan {
 public:
  using Time = std::chrono::milliseconds;

  /// Longest time that a connection waits for a client. Servers end one that has sent nothing after
  /// 1 minute (Exchange), 3 minutes (Dovecot before login) or 5 minutes (RFC 5321 §4.5.3.2.7).
  static constexpr Time kMaxAge{std::chrono::seconds{45}};
  /// Shortest limit that is learned from a server that ends them earlier (INN: 10 s; Postfix under
  /// stress: 10 s). A server that ends them earlier still counts as failing.
  static constexpr Time kMinAge{std::chrono::seconds{5}};
  /// After this time a learned limit is forgotten, because the server may only have been restarted.
  static constexpr Time kMemory{std::chrono::minutes{10}};
  /// Pause between a failure and the next attempt; doubled each time.
  static constexpr Time kFirstPause{std::chrono::seconds{2}};
  static constexpr Time kLastPause{std::chrono::seconds{60}};
  /// Connections that are opened at a time.
  static constexpr std::size_t kAtOnce = 4;

  explicit WarmPlan(std::size_t wanted) noexcept : wanted_(wanted) {}

  /// The connections of a pool.
  struct Open {
    std::size_t ready = 0;    ///< wait for clients
    std::size_t opening = 0;  ///< under way
    std::size_t leaving = 0;  ///< have said goodbye, and wait for the server's
  };
  /// Returns how many connections a pool has at most, those that leave included. If a server ends
  /// all of them at once, they are replaced as they leave (R5).
  [[nodiscard]] static constexpr std::size_t most_open(std::size_t wanted) noexcept {
    return wanted + kAtOnce;
  }
  /// Returns how many to begin now.
  [[nodiscard]] std::size_t to_open(Open open, Time now) const noexcept;
  /// Returns the time before which no connection is begun. A time in the past means now.
  [[nodiscard]] Time paused_until() const noexcept { return paused_until_; }
  /// Returns how long a connection that is ready now should wait. `chance`, from 0 to 1, spreads
  /// the ends of those that were begun together.
  [[nodiscard]] Time lifetime(Time now, double chance) noexcept;

  void on_opened() noexcept { cautious_ = false; }
  /// Notes that a connection did its work: a client has it, or its time is over.
  void on_served() noexcept { pause_ = {}; }
  /// Notes that a connection could not be opened. The next attempt comes after half to all of a
  /// pause.
  void on_failed(Time now, double chance) noexcept;
  /// Notes that the server has ended a connection, or sent something on it, after it was ready for
  /// `age`.
  void on_lost(Time age, Time now, double chance) noexcept;

 private:
  std::size_t wanted_;
  Time age_limit_ = kMaxAge;
  Time learned_at_{};
  Time pause_{};  // the last one; 0 = no failure
  Time paused_until_{};
  bool cautious_ = false;  // the last attempt has failed: one at a time
};

}  // namespace starttls::session
