#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

namespace starttls {

/// Decides when the problems of a reload are logged that changed files have caused. A certificate
/// and its key are two files, and seldom written at once. So the problems wait until the files have
/// not changed for a while. If the only problem is that a key does not belong to its chain, the
/// other file is expected within a minute. Without a clock: the caller passes the time.
class ReloadProblems {
 public:
  using Clock = std::chrono::steady_clock;
  /// The time between a chain and its key. certbot and Kubernetes write both at once. People and
  /// scripts copy one after the other.
  static constexpr std::chrono::seconds kPatience{60};

  /// Remembers the problems of a reload that has failed at `now`. Earlier ones are forgotten.
  void set(std::vector<std::string> problems, Clock::time_point now);
  void clear();

  enum class Step : std::uint8_t {
    nothing,  ///< there is nothing to log now
    waits,    ///< a chain waits for its key, or a key for its chain: log it, once
    failed,   ///< log the problems as errors, and `clear`
  };
  /// Returns what to do if the files have not changed since the last look.
  [[nodiscard]] Step on_unchanged(Clock::time_point now);

  [[nodiscard]] const std::vector<std::string>& all() const noexcept { return problems_; }

 private:
  std::vector<std::string> problems_;
  Clock::time_point since_{};
  bool only_keys_ = false;  // all of them are about a key that does not belong to its chain
  bool announced_ = false;
};

}  // namespace starttls
