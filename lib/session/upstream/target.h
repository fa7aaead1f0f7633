#pragma once

// The addresses of an upstream leg, and the policy for them. Both are the service's, unless the
// client was intercepted. Then the address is the one that the client dialled, and the policy is
// that of the configuration's row for it, if there is one.

#include <memory>
#include <span>

#include "lib/base/address.h"
#include "lib/base/error.h"
#include "lib/net/stream.h"
#include "lib/session/service.h"
#include "lib/session/upstream/interception.h"

namespace starttls::session {

class Target {
 public:
  explicit Target(std::shared_ptr<const Service> service) noexcept : service_(std::move(service)) {}

  /// Finds the parts that depend on the client, if any do. `address` is the client's own, if a
  /// header has named it; nullptr: the one of the connection. Errors: as Interception::of.
  [[nodiscard]] Result<> settle(net::Stream& client, const IpEndpoint* address, LoopGuard& guard);

  [[nodiscard]] const Service& service() const noexcept { return *service_; }
  /// Returns the service's settings, or a row's.
  [[nodiscard]] const config::Upstream& upstream() const noexcept;
  /// Returns the context for `upstream`; nullptr if its mode is none.
  [[nodiscard]] const std::shared_ptr<const tls::Context>& tls() const noexcept;
  /// Returns the addresses, which must be tried in order.
  [[nodiscard]] std::span<const Address> addresses() const noexcept;
  /// Returns the address that an intercepted client dialled; nullptr: it was not intercepted.
  [[nodiscard]] const Address* original_destination() const noexcept {
    return interception_ == nullptr ? nullptr : &interception_->destination();
  }
  /// Returns the address to connect from; nullptr: the system chooses.
  [[nodiscard]] const net::SocketAddress* source() const noexcept { return source_.get(); }

  /// Checks a connected `server`. Errors: not_allowed, if the connection leads back to ourselves.
  [[nodiscard]] Result<> connected(net::Stream& server);

 private:
  [[nodiscard]] const ServerPolicy* row() const noexcept {
    return interception_ == nullptr ? nullptr : interception_->policy();
  }

  std::shared_ptr<const Service> service_;
  std::unique_ptr<Interception> interception_;        // null: the service's own addresses
  std::unique_ptr<const net::SocketAddress> source_;  // rarely used, and large
};

}  // namespace starttls::session
