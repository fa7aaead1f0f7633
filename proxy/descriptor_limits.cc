#include "proxy/descriptor_limits.h"

#include <algorithm>

#include "lib/net/address.h"
#include "lib/net/connector.h"
#include "lib/proto/lines.h"
#include "lib/session/credentials/secret_cache.h"
#include "lib/session/upstream/warm_plan.h"
#include "proxy/worker.h"

namespace starttls {
namespace {

/// Descriptors that sessions do not use: the log, the admin endpoint, queries to name servers,
/// files that a reload reads, and refused clients.
constexpr std::size_t kReservedDescriptors = 96 + kMaxLingering;
/// The descriptors of a loop itself, its spare one and its pipe's two included.
constexpr std::size_t kDescriptorsPerLoop = 10;

bool uses_tls_upstream(const config::Service& service) noexcept {
  const auto& at = service.destinations;
  return service.upstream.tls != TlsMode::none ||
         std::any_of(at.begin(), at.end(), [](const config::Destination& each) {
           return each.tls.value_or(TlsMode::none) != TlsMode::none;
         });
}

/// True if a session may give up a connection to a server and make another one. There are several
/// reasons: a list of addresses, a fallback to the clear, a smaller ClientHello, the client's own
/// STARTTLS, a login that is tried again.
bool may_replace_connection(const config::Service& service) noexcept {
  return service.upstream.address.size() > 1 || uses_tls_upstream(service) ||
         proto::upgrades(service.downstream.tls) || service.login.has_value();
}

/// Returns the number of descriptors that a connection to the service's server may take while it is
/// made. Attempts to reach the addresses of a name run at the same time. A connection that was
/// given up may still be receiving our goodbye (UpstreamOpener keeps one).
std::size_t descriptors_while_connecting(const config::Service& service) {
  const auto is_name = [](const Address& address) {
    return !address.is_unix() && !net::parse_ip(address.host, address.port);
  };
  const auto& all = service.upstream.address;
  const bool some_name = std::any_of(all.begin(), all.end(), is_name);
  return (some_name ? net::Connector::kMaxAtOnce : 1) + (may_replace_connection(service) ? 1 : 0);
}

}  // namespace

DescriptorNeeds descriptor_needs(const config::Config& config, std::size_t workers) {
  DescriptorNeeds needs{.reserved = kReservedDescriptors + kDescriptorsPerLoop * workers,
                        .warm = 0,
                        .per_session = 2};
  for (const auto& service : config.services) {
    needs.reserved += service.listen.size() * workers;
    // Sockets that are asked for secrets.
    if (service.login) {
      needs.reserved += (1 + service.accounts.size()) * session::SecretCache::kAtOnce;
    }
    const auto connecting = descriptors_while_connecting(service);
    needs.per_session = std::max(needs.per_session, 1 + connecting);
    if (service.upstream.warm > 0) {
      needs.warm += (session::WarmPlan::most_open(service.upstream.warm) +
                     (connecting - 1) * session::WarmPlan::kAtOnce) *
                    workers;
    }
  }
  return needs;
}

std::size_t session_limit(const DescriptorNeeds& needs, std::size_t descriptors,
                          std::size_t wanted) noexcept {
  const std::size_t usable =
      descriptors > 2 * needs.reserved ? descriptors - needs.reserved : descriptors / 2;
  const std::size_t left = usable > needs.warm ? usable - needs.warm : 0;
  const std::size_t possible = std::max<std::size_t>(1, left / needs.per_session);
  return wanted == 0 ? possible : std::min(wanted, possible);
}

}  // namespace starttls
