#pragma once

#include <memory>
#include <string>
#include <vector>

#include "lib/base/error.h"
#include "lib/base/side.h"
#include "lib/config/config.h"
#include "lib/metrics/metrics.h"
#include "lib/net/turn_budget.h"
#include "lib/proto/protocols.h"
#include "lib/session/own_name.h"
#include "lib/tls/context.h"

namespace starttls::session {

/// What is expected of a server, and how TLS with it begins.
struct ServerPolicy {
  config::Upstream settings;
  std::shared_ptr<const tls::Context> tls;  ///< nullptr where the mode is none
};

/// A configured service, ready to serve: what its sessions share. Immutable, shared by all workers;
/// a session keeps the one it was born with.
struct Service {
  config::Service config;
  const proto::Protocol* protocol = nullptr;
  std::shared_ptr<const OwnName> own_name;             ///< never null
  std::shared_ptr<const tls::Context> upstream_tls;    ///< nullptr where the mode is none
  std::shared_ptr<const tls::Context> downstream_tls;  ///< the same
  std::vector<ServerPolicy> destinations;              ///< of config.destinations, in their order
  std::shared_ptr<metrics::Service> metrics;           ///< never null: each worker its own tally

  /// The queue in which the handshakes of a leg wait; the same one after a reload.
  [[nodiscard]] net::TurnBudget::Lane lane(Side side) const noexcept {
    return {.service = metrics.get(), .side = side};
  }
};

/// What services have in common.
struct Common {
  std::shared_ptr<const OwnName> own_name;  ///< never null
  RecordCodecChoice record_codec = RecordCodecChoice::automatic;
  metrics::Registry* metrics = nullptr;  ///< null: nobody asks what the services count
};

/// Reads all files anew. `previous` (or null) is the service of that name which this one is to
/// replace: where the policy towards the server is the same, so are the sessions to be resumed.
/// Errors: config (CA file that does not parse ...), naming the service.
[[nodiscard]] Result<std::shared_ptr<const Service>> make_service(
    const config::Service& config, const Common& common, const Service* previous = nullptr);

}  // namespace starttls::session
