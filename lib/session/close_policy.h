#pragma once

// Decides when a session that only waits for its end is over. Pure: the session asks for the next
// step, does it, and asks again after the time that the answer names.
//
// A slow reader is not an idle one: each byte that a peer takes starts the wait anew.

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>

#include "lib/metrics/outcome.h"

namespace starttls::session {

/// Measures how long no bytes have passed, in either direction.
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
  /// Time for both peers to answer our FIN.
  static constexpr std::chrono::milliseconds kLinger{2000};
  /// Time for a client to end, once its server has ended and all bytes are delivered.
  static constexpr std::chrono::milliseconds kClientsEnd{60'000};
  /// How often the session checks that all bytes are delivered.
  static constexpr std::chrono::milliseconds kEndPoll{1000};
  /// How often it checks that the kernel has delivered the bytes that a reset would destroy.
  static constexpr std::chrono::milliseconds kDeliveryPoll{10};

  /// `idle` is the service's time-out of that name.
  ClosePolicy(std::chrono::milliseconds idle, std::chrono::milliseconds now) noexcept
      : idle_(idle), watch_(now) {}

  /// Notes that bytes have passed, or that a new wait begins.
  void touch(std::chrono::milliseconds now) noexcept { watch_.touch(now); }

  /// Returns the step while both directions are open. `left` is the number of bytes for either peer
  /// that the kernel has not taken.
  [[nodiscard]] CloseStep in_relay(std::size_t left, std::chrono::milliseconds now) noexcept;
  /// Returns the step after the server has ended, when only the client's own end is missing. `left`
  /// is the number of bytes that the client has not acknowledged. A slow reader first gets all of
  /// them. Then the client has `kClientsEnd`, even if it still sends.
  [[nodiscard]] CloseStep after_servers_end(std::size_t left,
                                            std::chrono::milliseconds now) noexcept;
  /// Returns the step after our FIN, which is queued after `left` bytes. If the session was good,
  /// its reader gets them, in as much time as it would have had in the relay.
  [[nodiscard]] CloseStep after_our_end(std::size_t left, Outcome outcome, bool stopping,
                                        std::chrono::milliseconds now) noexcept;
  /// Returns the step before a leg is reset. RST makes the peer's kernel forget the bytes that it
  /// has not delivered, so these come first. `left` is the number of bytes that the peer has not
  /// acknowledged.
  [[nodiscard]] CloseStep before_reset(std::size_t left, std::chrono::milliseconds now) noexcept;

 private:
  std::chrono::milliseconds idle_;
  IdleWatch watch_;
  std::optional<std::chrono::milliseconds> delivered_at_;  // all bytes of the server
};

}  // namespace starttls::session
