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

/// The TLS handshake with a client: makes its engine, and counts it once it is done. Belongs to one
/// session, which starts the engine on the client's leg.
class ClientHandshake {
 public:
  /// `service` outlives us.
  explicit ClientHandshake(const Service& service) noexcept : service_(service) {}

  /// Makes the engine. Errors: limit (more handshakes wait than this loop can do in time), system.
  [[nodiscard]] Result<std::unique_ptr<tls::Engine>> begin(net::Loop& loop);
  /// Returns the queue in which its steps wait.
  [[nodiscard]] net::TurnBudget::Lane lane() const noexcept {
    return service_.lane(Side::downstream);
  }
  /// Counts the handshake, once the leg is secured. Errors: certificate, if the client's is missing
  /// or not acceptable.
  [[nodiscard]] Result<> on_secured(Leg& client, metrics::Tally& tally) const;

 private:
  const Service& service_;
  std::chrono::nanoseconds began_at_{};
};

}  // namespace starttls::session
