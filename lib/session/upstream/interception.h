#pragma once

// An intercepted session's server: wherever the client meant to go, and what the configuration
// expects there. Names come from its rows only, never from DNS or from a certificate.

#include <memory>

#include "lib/base/address.h"
#include "lib/base/error.h"
#include "lib/net/stream.h"
#include "lib/session/service.h"
#include "lib/session/upstream/loop_guard.h"

namespace starttls::session {

class Interception {
 public:
  /// Finds out where `client` meant to go. Errors: not_allowed (that is the proxy itself, or no row
  /// is about it and a name is needed), system; the evidence names the destination.
  [[nodiscard]] static Result<std::unique_ptr<Interception>> of(const Service& service,
                                                                net::Stream& client,
                                                                LoopGuard& guard);

  [[nodiscard]] const Address& destination() const noexcept { return destination_; }
  /// nullptr: the service's own.
  [[nodiscard]] const ServerPolicy* policy() const noexcept { return policy_; }

  /// `server` is connected. Errors: not_allowed, where that is a way back to ourselves.
  [[nodiscard]] Result<> connected(net::Stream& server);

 private:
  Interception() = default;

  Address destination_;
  const ServerPolicy* policy_ = nullptr;
  LoopGuard* guard_ = nullptr;
  LoopGuard::Entry accepted_;
  LoopGuard::Entry made_;
};

}  // namespace starttls::session
