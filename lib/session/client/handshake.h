#pragma once

#include <chrono>
#include <memory>

#include "lib/base/error.h"
#include "lib/metrics/metrics.h"
#include "lib/net/loop.h"
#include "lib/session/leg.h"
#include "lib/session/service.h"
#include "lib/tls/engine.h"

namespace starttls::session {

/// The TLS handshake with a client: makes its engine, and counts how it ends. Belongs to one
/// session, which starts the engine on the client's leg.
class ClientHandshake {
 public:
  /// The arguments outlive us.
  ClientHandshake(net::Loop& loop, const Service& service, metrics::Tally& tally) noexcept
      : loop_(loop), service_(service), tally_(tally) {}

  /// Makes the engine. Errors: limit (more handshakes wait than this loop can do in time), system.
  [[nodiscard]] Result<std::unique_ptr<tls::Engine>> begin();
  /// Returns the queue in which its steps wait.
  [[nodiscard]] net::TurnBudget::Lane lane() const noexcept {
    return service_.lane(Side::downstream);
  }
  /// Counts the handshake, once the leg is secured. Errors: certificate, if the client's is missing
  /// or not acceptable.
  [[nodiscard]] Result<> on_secured(Leg& client);
  /// Counts a handshake that has failed, or that ran out of time.
  void on_failed(Errc code) noexcept { tally_.handshake_failed(Side::downstream, code); }

 private:
  net::Loop& loop_;
  const Service& service_;
  metrics::Tally& tally_;
  std::chrono::nanoseconds began_at_{};
};

}  // namespace starttls::session
