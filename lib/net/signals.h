#pragma once

#include <functional>
#include <initializer_list>
#include <vector>

#include "lib/base/error.h"
#include "lib/net/loop.h"

namespace starttls::net {

/// Delivers signals on a loop until it is destroyed. After that its thread ignores them, as the
/// threads of `leave_signals_to_others` do, because the process is about to end.
class Signals {
 public:
  /// `on_signal` is called with the signal's number.
  Signals(Loop& loop, std::function<void(int)> on_signal);
  Signals(const Signals&) = delete;
  Signals& operator=(const Signals&) = delete;
  ~Signals();

  /// Begins, once. Errors: system.
  [[nodiscard]] Result<> open(std::initializer_list<int> numbers);

 private:
  [[nodiscard]] int open(int number);

  Loop& loop_;
  std::function<void(int)> on_signal_;
  std::vector<uv_signal_t*> handles_;  // outlive this object until libuv lets go of them
};

/// Blocks all signals except those of a fault, in this thread and in threads that it begins.
/// Threads that serve call it when they begin.
void leave_signals_to_others() noexcept;

/// Ignores SIGPIPE and SIGXFSZ. A write to a closed connection, or to a log file that may not grow
/// (setrlimit(2)), is then an error of that write, not a signal.
void ignore_signals_of_writes() noexcept;

}  // namespace starttls::net
