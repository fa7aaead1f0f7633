#pragma once

// The phases of a session: their names, how long each may take, and what follows then. Pure.

#include <chrono>
#include <cstdint>
#include <optional>
#include <string_view>

#include "lib/config/config.h"

namespace starttls::session {

/// The phases in the order in which a session goes through them; see session.h.
enum class Phase : std::uint8_t {
  accepted,
  proxy_header,
  downstream_handshake,
  connecting,
  upstream_handshake,
  upstream_prelude,
  dialogue,
  downstream_starttls,
  login,
  relay,
  finishing,
  ended,
};

[[nodiscard]] std::string_view name(Phase phase) noexcept;

/// The facts that a deadline depends on, besides the phase. Times are on the loop's clock.
struct PhaseFacts {
  std::chrono::milliseconds now{};
  std::chrono::milliseconds accepted_at{};
  std::chrono::milliseconds greeted_at{};  ///< from the greeting on
  std::chrono::milliseconds login_at{};    ///< the client's login, during it
  bool awaits_header = false;              ///< a PROXY header
  bool awaits_client_tls = false;          ///< downstream mode starttls, and TLS is not up
  bool awaits_server = false;              ///< a command of the client has no answer yet
  bool resets = false;                     ///< a leg will be reset once its bytes are delivered
};

/// The session's step when a deadline expires.
enum class Expiry : std::uint8_t {
  nothing,           ///< there is no deadline, or another part has it
  fail,              ///< the session fails by a time-out, with `Deadline::reason`
  server_silent,     ///< the same, and it is the server's fault
  server_lost,       ///< the server is too slow at a login, with `Deadline::reason`
  handshake_failed,  ///< the client's handshake fails, with `Deadline::reason`
  ask_close_policy,
};

struct Deadline {
  std::optional<std::chrono::milliseconds> patience = {};  ///< nothing: without a limit
  Expiry expiry = Expiry::nothing;
  std::string_view reason = {};
};

[[nodiscard]] Deadline deadline_of(Phase phase, const config::Timeouts& timeouts,
                                   const PhaseFacts& facts) noexcept;

}  // namespace starttls::session
