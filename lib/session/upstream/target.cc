#include "lib/session/upstream/target.h"

#include <utility>

namespace starttls::session {

Result<> Target::settle(net::Stream& client, const IpEndpoint* address, LoopGuard& guard) {
  const auto& configured = service_->config.upstream;
  if (configured.original_destination) {
    auto found = Interception::of(*service_, client, guard);
    if (!found) return fail(std::move(found.error()));
    interception_ = std::move(*found);
  }
  if (configured.from_client) {
    source_ = std::make_unique<const net::SocketAddress>(
        address != nullptr ? net::socket_address(*address) : net::unmapped(client.peer()));
  }
  return {};
}

const config::Upstream& Target::upstream() const noexcept {
  return row() == nullptr ? service_->config.upstream : row()->settings;
}

const std::shared_ptr<const tls::Context>& Target::tls() const noexcept {
  return row() == nullptr ? service_->upstream_tls : row()->tls;
}

std::span<const Address> Target::addresses() const noexcept {
  if (interception_ != nullptr) return {&interception_->destination(), 1};
  return service_->config.upstream.address;
}

Result<> Target::connected(net::Stream& server) {
  return interception_ == nullptr ? Result<>{} : interception_->connected(server);
}

}  // namespace starttls::session
