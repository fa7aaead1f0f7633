#pragma once

// Reports to the supervisor what this process is doing, as sd_notify(3) does. The socket is
// connected at start. Later, as another user and in a sandbox, the process only sends on it.

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "lib/base/error.h"
#include "lib/net/listener.h"

namespace starttls {

/// Lives on the control loop's thread. Sends nothing if no supervisor listens.
class Notifier {
 public:
  /// Makes a notifier without a supervisor.
  Notifier() : socket_(-1) {}
  /// Connects to the socket that the environment names. Removes its variable, and those of the
  /// watchdog, from the environment. Call it before there are threads. Errors: config, if the
  /// socket cannot be reached or a variable makes no sense.
  [[nodiscard]] static Result<Notifier> take();

  [[nodiscard]] bool is_heard() const noexcept { return socket_.get() >= 0; }
  /// Returns the period within which `alive` must be called; nothing if there is no watchdog.
  [[nodiscard]] std::optional<std::chrono::microseconds> watchdog() const noexcept {
    return watchdog_;
  }

  /// Reports that the process serves, at first or again. `status` is one line for people.
  void ready(std::string_view status);
  void reloading();
  /// Reports that the process ends, which may take up to `patience`.
  void stopping(std::chrono::milliseconds patience, std::string_view status);
  void alive();
  /// Sends the status line if it differs from the last one.
  void status(std::string_view text);

 private:
  enum class Patience : std::uint8_t { a_second, none };
  void send(const std::string& text, Patience patience = Patience::a_second);

  net::Socket socket_;
  std::optional<std::chrono::microseconds> watchdog_;
  std::string last_status_;
};

}  // namespace starttls
