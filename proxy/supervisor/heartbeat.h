#pragma once

// Reports to the supervisor while the process serves: a status line for people and, if a watchdog
// waits for it, a sign of life.

#include <chrono>
#include <cstddef>
#include <functional>
#include <string>

#include "lib/net/loop.h"
#include "lib/net/timer.h"
#include "proxy/supervisor/notifier.h"

namespace starttls {

/// Lives on the control loop's thread.
class Heartbeat {
 public:
  struct Load {
    std::size_t sessions = 0;
    std::size_t services = 0;
  };
  using OnHealth = std::function<void(bool healthy)>;

  /// `load` returns the present load. `ask_health` finds out if all loops turn, and calls back
  /// once, from inside the call or later. `notifier` must outlive this object.
  Heartbeat(net::Loop& loop, Notifier& notifier, std::function<Load()> load,
            std::function<void(OnHealth)> ask_health);
  Heartbeat(const Heartbeat&) = delete;
  Heartbeat& operator=(const Heartbeat&) = delete;

  /// Reports that the process serves, and from then on sends status lines and signs of life.
  void begin();
  void reloading();
  void reloaded(bool successful);
  /// Reports that the process ends. Sessions have up to `patience` to finish.
  void stopping(std::chrono::milliseconds patience);

 private:
  /// How often the status line is made anew.
  static constexpr std::chrono::seconds kStatusInterval{5};

  void report_status();
  void report_alive();
  [[nodiscard]] std::string status() const;

  Notifier& notifier_;
  std::function<Load()> load_;
  std::function<void(OnHealth)> ask_health_;
  net::Timer status_timer_;
  net::Timer watchdog_timer_;
  bool stopping_ = false;
  bool reload_failed_ = false;
};

}  // namespace starttls
