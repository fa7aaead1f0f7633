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
#include "lib/session/credentials/accounts.h"
#include "lib/session/own_name.h"
#include "lib/tls/context.h"

namespace starttls::session {

/// The settings that a server must meet, and the context for TLS with it.
struct ServerPolicy {
  config::Upstream settings;
  std::shared_ptr<const tls::Context> tls;  ///< nullptr if the mode is none
};

/// A configured service, ready to serve, with the parts that its sessions share. Immutable, shared
/// by all workers; a session keeps the one that it was created with.
struct Service {
  config::Service config;
  const proto::Protocol* protocol = nullptr;
  std::shared_ptr<const OwnName> own_name;             ///< never null
  std::shared_ptr<const tls::Context> upstream_tls;    ///< nullptr if the mode is none
  std::shared_ptr<const tls::Context> downstream_tls;  ///< the same
  std::shared_ptr<const Accounts> accounts;            ///< nullptr if logins pass unseen
  std::vector<ServerPolicy> destinations;  ///< one for each of config.destinations, in their order
  std::shared_ptr<metrics::Service> metrics;  ///< never null; each worker has its own tally

  /// Returns the queue in which the handshakes of a leg wait. It is the same one after a reload.
  [[nodiscard]] net::TurnBudget::Lane lane(Side side) const noexcept {
    return {.service = metrics.get(), .side = side};
  }
};

/// The settings that all services have in common.
struct Common {
  std::shared_ptr<const OwnName> own_name;  ///< never null
  RecordCodecChoice record_codec = RecordCodecChoice::automatic;
  RecordCipher record_cipher = RecordCipher::library;
  metrics::Registry* metrics = nullptr;  ///< null: the counters of the services are not published
};

/// Makes a service, and reads all its files anew. `previous` (or null) is the service of that name
/// which this one will replace. If the policy towards the server is the same, TLS sessions of the
/// old one can be resumed. Errors: config (CA file that does not parse ...), naming the service.
[[nodiscard]] Result<std::shared_ptr<const Service>> make_service(
    const config::Service& config, const Common& common, const Service* previous = nullptr);

}  // namespace starttls::session
