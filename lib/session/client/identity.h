#pragma once

// Finds the address of a session's client. It is the other end of the connection. If the service
// believes that other end, it is the address that a PROXY header names.
//
// The configuration alone decides between the two, never the bytes. A balancer must send a header
// before all else, and any other peer may not send one. After its one header a balancer's
// connection may not begin with another. That would come from the balancer's client, which may only
// speak for itself.
//
// A service that believes no peer refuses all headers. Two kinds of service need not look for them:
// under implicit TLS a header is not a ClientHello, and a plain relay passes on any bytes that it
// does not know.

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

/// The identity of one session's client. Pure.
class ClientIdentity {
 public:
  /// `peer` is the connection's other end.
  ClientIdentity(const config::Service& settings, const net::SocketAddress& peer);

  /// True if a header must come first; the client's address is not known yet.
  [[nodiscard]] bool awaits_header() const noexcept {
    return watch_ != nullptr && watch_->header != nullptr;
  }
  /// True if the next bytes in the clear must be shown to `look`, because a header is due or
  /// forbidden.
  [[nodiscard]] bool is_watching() const noexcept { return watch_ != nullptr; }

  /// Looks at bytes of the connection, each once and in order, that came in the clear. Returns how
  /// many of them were the header's. Errors: not_allowed (it is missing or malformed, there are
  /// two, or there is one from a peer that is not believed). That is no protocol error: the client
  /// may know nothing of its balancer's mistake, and must not lose its mail for it.
  [[nodiscard]] Result<std::size_t> look(std::string_view bytes);

  /// Returns the client's address; nothing over a unix socket. Before the header has come, it is
  /// the peer's own.
  [[nodiscard]] const std::optional<IpEndpoint>& address() const noexcept { return address_; }
  /// Returns the address that the client dialled, if a header has named it.
  [[nodiscard]] const std::optional<IpEndpoint>& destination() const noexcept {
    return destination_;
  }
  /// True if a header has named a client other than the peer.
  [[nodiscard]] bool is_conveyed() const noexcept { return destination_.has_value(); }

  /// Checks that the client may use the service. Errors: not_allowed. A balancer's own connection,
  /// which checks that we are up, is accepted: a balancer could name any client anyway.
  [[nodiscard]] Result<> check(const config::Downstream& settings) const;

 private:
  /// The state of looking for headers. It exists only while a header is due or forbidden.
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
