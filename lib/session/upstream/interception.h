#pragma once

// An intercepted session's server: the address that the client dialled, and the configured policy
// for it. Names come from the configuration's rows only, never from DNS or from a certificate.

#include <memory>

#include "lib/base/address.h"
#include "lib/base/error.h"
#include "lib/net/stream.h"
#include "lib/session/service.h"
#include "lib/session/upstream/loop_guard.h"

namespace starttls::session {

class Interception {
 public:
  /// Finds the address that `client` dialled. Errors: system, not_allowed. It is not allowed if
  /// that address is the proxy itself, or if a name is needed and no row covers the address. The
  /// evidence names the destination.
  [[nodiscard]] static Result<std::unique_ptr<Interception>> of(const Service& service,
                                                                net::Stream& client,
                                                                LoopGuard& guard);

  [[nodiscard]] const Address& destination() const noexcept { return destination_; }
  /// Returns the row's policy; nullptr: the service's own applies.
  [[nodiscard]] const ServerPolicy* policy() const noexcept { return policy_; }

  /// Checks a connected `server`. Errors: not_allowed, if the connection leads back to ourselves.
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
