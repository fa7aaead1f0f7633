#pragma once

#include <functional>
#include <initializer_list>
#include <vector>

#include "lib/net/loop.h"

namespace starttls::net {

/// Delivers signals on a loop until it is destroyed.
class Signals {
 public:
  /// `on_signal` is called with the signal's number.
  Signals(Loop& loop, std::initializer_list<int> numbers, std::function<void(int)> on_signal);
  Signals(const Signals&) = delete;
  Signals& operator=(const Signals&) = delete;
  ~Signals();

 private:
  std::function<void(int)> on_signal_;
  std::vector<uv_signal_t*> handles_;  // outlive this object until libuv lets go of them
};

/// A write to a closed connection is an error of that connection, not a signal.
void ignore_broken_pipes() noexcept;

}  // namespace starttls::net
