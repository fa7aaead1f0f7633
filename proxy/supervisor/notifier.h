#pragma once

// Tells the supervisor what this process is doing, as sd_notify(3) does. The socket is connected at
// start: what serves, as another user and in a sandbox, only sends on it.

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "lib/base/error.h"
#include "lib/net/listener.h"

namespace starttls {

/// Lives on the control loop's thread. Where nobody listens, nothing is said.
class Notifier {
 public:
  /// Nobody to tell.
  Notifier() : socket_(-1) {}
  /// To the socket that the environment names, which is then taken out of it, the watchdog's period
  /// too. Before there are threads. Errors: config, where that socket cannot be had or a variable
  /// makes no sense.
  [[nodiscard]] static Result<Notifier> take();

  [[nodiscard]] bool is_heard() const noexcept { return socket_.get() >= 0; }
  /// How often `alive` has to be said; nothing where nobody waits for it.
  [[nodiscard]] std::optional<std::chrono::microseconds> watchdog() const noexcept {
    return watchdog_;
  }

  /// Serving, at first or again. `status` is one line for people.
  void ready(std::string_view status);
  void reloading();
  /// May take up to `patience`.
  void stopping(std::chrono::milliseconds patience, std::string_view status);
  void alive();
  /// Said only where it differs from what was said last.
  void status(std::string_view text);

 private:
  enum class Patience : std::uint8_t { a_second, none };
  void send(const std::string& text, Patience patience = Patience::a_second);

  net::Socket socket_;
  std::optional<std::chrono::microseconds> watchdog_;
  std::string last_status_;
};

}  // namespace starttls
