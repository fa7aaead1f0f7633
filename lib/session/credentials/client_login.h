#pragma once

// The waits in a client's login: for credentials, and before a refusal is answered. Neither side is
// heard meanwhile.

#include <chrono>
#include <functional>

#include "lib/net/timer.h"
#include "lib/session/credentials/desk.h"

namespace starttls::session {

/// Serves all logins of one session, one after the other.
class ClientLogin {
 public:
  ClientLogin(const WorkerContext& context, const Accounts& accounts);

  /// Notes that a login begins.
  void begin(std::chrono::milliseconds now) noexcept;
  /// Takes the role's report, if it is the result of this login. Returns it once.
  [[nodiscard]] const proto::LoginReport* take_result(const proto::LoginReport* report) noexcept;

  void ask(const proto::LoginRequest& request, CredentialsDesk::OnAnswer on_answer);
  void drop_request() noexcept { desk_.cancel(); }
  /// Calls `on_over` after `kRefusalDelay`. If a pause is under way, it goes on as it is.
  void pause(std::function<void()> on_over);
  void stop() noexcept;

  [[nodiscard]] bool is_asking() const noexcept { return desk_.is_asking(); }
  [[nodiscard]] bool is_pausing() const noexcept { return on_over_ != nullptr; }
  [[nodiscard]] bool is_waiting() const noexcept { return is_asking() || is_pausing(); }
  /// True if the result is known, and the client has been answered.
  [[nodiscard]] bool is_over() const noexcept { return has_result_ && !is_waiting(); }
  [[nodiscard]] std::chrono::milliseconds began_at() const noexcept { return began_at_; }

 private:
  CredentialsDesk desk_;
  net::Timer pause_;
  std::function<void()> on_over_;
  std::chrono::milliseconds began_at_{};
  bool has_result_ = false;
};

}  // namespace starttls::session
