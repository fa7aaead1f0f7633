#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <mutex>
#include <string>

#include "bench/load/client.h"
#include "bench/load/histogram.h"

namespace starttls::bench {

using Clock = std::chrono::steady_clock;

/// The times that one thread measured, in nanoseconds.
struct Times {
  Histogram ready;      ///< connect until the server accepts commands
  Histogram committed;  ///< connect until the proxy relays
  Histogram whole;      ///< one unit of work: a session, a message, a command
};

/// The sum of the work of many threads.
class Tally {
 public:
  /// Starts the clock anew. No other thread may use the tally meanwhile.
  void restart() noexcept { begin_ = Clock::now(); }
  void add_bytes(std::uint64_t bytes) noexcept { bytes_ += bytes; }
  void add_done() noexcept { ++done_; }
  /// Counts resumed sessions, and remembers the cipher.
  void add_session(const Client& client);
  void add_error(const std::string& what);
  void add_times(const Times& times);

  [[nodiscard]] unsigned errors() const noexcept { return errors_; }

  /// Prints one line of JSON. Call it after all threads have ended.
  void print() const;

 private:
  Clock::time_point begin_ = Clock::now();
  std::atomic<std::uint64_t> bytes_ = 0;
  std::atomic<std::uint64_t> done_ = 0;
  std::atomic<std::uint64_t> resumed_ = 0;
  std::atomic<unsigned> errors_ = 0;
  std::mutex mutex_;  // guards what follows
  std::string first_error_;
  std::string version_;
  std::string cipher_;
  Times times_;
};

}  // namespace starttls::bench
