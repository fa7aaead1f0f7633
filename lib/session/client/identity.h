#pragma once

// Who a session's client is: whoever is at the other end of its connection, or the one that a PROXY
// header names, where the service believes that other end.
//
// Which of the two is the configuration's to say, never the octets': from a balancer a header has
// to come before all else, and whoever is none may not send one. After its one header a balancer's
// connection may not begin with another: that would be its client's, who speaks for himself only.
//
// A service that believes nobody refuses all headers. Two need not look for them: behind implicit
// TLS a header is no ClientHello, and a plain relay passes on whatever it does not know.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string_view>

#include "lib/base/error.h"
#include "lib/base/ip_endpoint.h"
#include "lib/config/config.h"
#include "lib/net/address.h"
#include "lib/proto/proxy_header.h"

namespace starttls::session {

/// Pure; belongs to one session.
class ClientIdentity {
 public:
  /// `peer` is the connection's other end.
  ClientIdentity(const config::Service& settings, const net::SocketAddress& peer);

  /// A header has to come first: who the client is is not known yet.
  [[nodiscard]] bool awaits_header() const noexcept {
    return watch_ != nullptr && watch_->header != nullptr;
  }
  /// The next octets in the clear have to be shown to `look`, because a header is due or forbidden.
  [[nodiscard]] bool is_watching() const noexcept { return watch_ != nullptr; }

  /// Octets of the connection, each once and in order, that came in the clear. Returns how many of
  /// them were the header's. Errors: not_allowed (it is missing or malformed, there are two, or
  /// there is one from a peer that is not believed): no protocol error, for the client may know
  /// nothing of what its balancer does, and must not lose its mail for it.
  [[nodiscard]] Result<std::size_t> look(std::string_view octets);

  /// Nothing: over a unix socket. Before the header has come the peer's own.
  [[nodiscard]] const std::optional<IpEndpoint>& address() const noexcept { return address_; }
  /// What the client dialled, where a header has said so.
  [[nodiscard]] const std::optional<IpEndpoint>& destination() const noexcept {
    return destination_;
  }
  /// A header has named somebody else than the peer.
  [[nodiscard]] bool is_conveyed() const noexcept { return destination_.has_value(); }

  /// Errors: not_allowed. A balancer's own connection, to see whether we are there, is let in: as
  /// balancer it could have named any client.
  [[nodiscard]] Result<> check(const config::Downstream& settings) const;

 private:
  /// Only while there is something to look for.
  struct Watch {
    std::unique_ptr<proto::ProxyHeaderReader> header;  ///< null: none is due (any more)
    proto::ProxySignatureDetector unwanted;
    bool is_second = false;
  };

  std::optional<IpEndpoint> address_;
  std::optional<IpEndpoint> destination_;
  std::unique_ptr<Watch> watch_;
  bool is_local_;  ///< a unix socket's
  bool is_balancers_own_ = false;
};

}  // namespace starttls::session
