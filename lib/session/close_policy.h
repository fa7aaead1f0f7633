#pragma once

// When a session that only waits for its end is over. Pure: the session asks what to do next, does
// it, and asks again after the time that the answer names.
//
// A slow reader is not an idle one: every byte that a peer takes starts the wait anew.

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>

#include "lib/metrics/outcome.h"

namespace starttls::session {

/// Measures how long nothing has passed, in either direction.
class IdleWatch {
 public:
  explicit IdleWatch(std::chrono::milliseconds now) noexcept : last_(now) {}

  /// Notes that bytes have passed.
  void touch(std::chrono::milliseconds now) noexcept { last_ = now; }
  /// Returns how long it has been quiet. `left` is the number of bytes that the peers have not
  /// taken yet; if it has changed, one of them has taken some.
  [[nodiscard]] std::chrono::milliseconds quiet_for(std::size_t left,
                                                    std::chrono::milliseconds now) noexcept;

 private:
  std::chrono::milliseconds last_;
  std::size_t left_ = 0;
};

enum class CloseAction : std::uint8_t {
  wait,      ///< ask again after `CloseStep::after`
  reset,     ///< send RST
  close,     ///< all is delivered, or there is no more time for it
  time_out,  ///< a peer has taken too long
};

struct CloseStep {
  CloseAction action = CloseAction::close;
  std::chrono::milliseconds after{};  ///< only of `wait`
};

/// All times are on the loop's clock.
class ClosePolicy {
 public:
  /// How long both peers may take to answer our FIN.
  static constexpr std::chrono::milliseconds kLinger{2000};
  /// How long a client may take to end once its server has, and everything is delivered.
  static constexpr std::chrono::milliseconds kClientsEnd{60'000};
  /// How often the session looks whether everything is delivered.
  static constexpr std::chrono::milliseconds kEndPoll{1000};
  /// How often it looks whether the kernel has delivered the bytes that a reset would destroy.
  static constexpr std::chrono::milliseconds kDeliveryPoll{10};

  /// `idle` is the service's time-out of that name.
  ClosePolicy(std::chrono::milliseconds idle, std::chrono::milliseconds now) noexcept
      : idle_(idle), watch_(now) {}

  /// Notes that bytes have passed, or that a new wait begins.
  void touch(std::chrono::milliseconds now) noexcept { watch_.touch(now); }

  /// While both directions are open. `left`: bytes for either peer that the kernel has not taken.
  [[nodiscard]] CloseStep in_relay(std::size_t left, std::chrono::milliseconds now) noexcept;
  /// The server has ended, and only the client's own end is missing. `left`: bytes for the client
  /// that it has not acknowledged. A slow reader first gets all of them; then the client has
  /// `kClientsEnd`, whatever it still sends.
  [[nodiscard]] CloseStep after_servers_end(std::size_t left,
                                            std::chrono::milliseconds now) noexcept;
  /// Our FIN is queued after `left` bytes. If the session was good, its reader gets them, in as
  /// much time as it would have had in the relay.
  [[nodiscard]] CloseStep after_our_end(std::size_t left, Outcome outcome, bool stopping,
                                        std::chrono::milliseconds now) noexcept;
  /// A leg is to be reset. RST makes the peer's kernel forget the bytes that it has not delivered,
  /// so these come first. `left`: bytes that the peer has not acknowledged.
  [[nodiscard]] CloseStep before_reset(std::size_t left, std::chrono::milliseconds now) noexcept;

 private:
  std::chrono::milliseconds idle_;
  IdleWatch watch_;
  std::optional<std::chrono::milliseconds> delivered_at_;  // all that the server said
};

}  // namespace starttls::session
