#pragma once

// Where an upstream leg is to go, and what is expected there: what the service says, or, for an
// intercepted client, where it meant to go and what the configuration's row about that says.

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

  /// Finds out what depends on the client, where anything does. Errors: as Interception::of.
  /// `address` is the client's own, where a header has told it; nullptr: that of the connection.
  [[nodiscard]] Result<> settle(net::Stream& client, const IpEndpoint* address, LoopGuard& guard);

  [[nodiscard]] const Service& service() const noexcept { return *service_; }
  /// The service's settings, or a row's.
  [[nodiscard]] const config::Upstream& upstream() const noexcept;
  /// Of `upstream`; nullptr where its mode is none.
  [[nodiscard]] const std::shared_ptr<const tls::Context>& tls() const noexcept;
  /// To be tried in order.
  [[nodiscard]] std::span<const Address> addresses() const noexcept;
  /// Where an intercepted client meant to go; nullptr: it was not intercepted.
  [[nodiscard]] const Address* original_destination() const noexcept {
    return interception_ == nullptr ? nullptr : &interception_->destination();
  }
  /// Where to connect from; nullptr: the system's choice.
  [[nodiscard]] const net::SocketAddress* source() const noexcept { return source_.get(); }

  /// `server` is connected. Errors: not_allowed, where that is a way back to ourselves.
  [[nodiscard]] Result<> connected(net::Stream& server);

 private:
  [[nodiscard]] const ServerPolicy* row() const noexcept {
    return interception_ == nullptr ? nullptr : interception_->policy();
  }

  std::shared_ptr<const Service> service_;
  std::unique_ptr<Interception> interception_;        // null: the service's own addresses
  std::unique_ptr<const net::SocketAddress> source_;  // seldom there, and large
};

}  // namespace starttls::session
