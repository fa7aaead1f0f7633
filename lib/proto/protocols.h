#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "lib/proto/capability_query.h"
#include "lib/proto/role.h"

namespace starttls::proto {

/// One protocol: a row of the table. A new protocol is one source file and one row.
struct Protocol {
  std::string_view name;
  std::uint16_t port;      ///< default port, STARTTLS
  std::uint16_t tls_port;  ///< default port, implicit TLS; 0 = none is registered
  /// ALPN identifiers, separated by spaces; "" = the protocol has none.
  std::string_view alpn;

  CapabilityQuery capabilities;

  /// Words of failure ("fail closed, and say why"): what precedes and follows the
  /// reason in the one-line reply. The reason itself is reduced to printable ASCII by
  /// `failure_reply`.
  struct Words {
    std::string_view unavailable;  ///< unreachable, time-out, closed
    std::string_view refused;  ///< the server greeted with a refusal; limit, draining, not allowed
    std::string_view policy;   ///< no STARTTLS, refused, attack, protocol error of the server,
                               ///< too many errors of the client
    std::string_view certificate;      ///< handshake, certificate
    std::string_view client_protocol;  ///< the client's own protocol error
    std::string_view suffix;           ///< closes the reply, before CRLF
  } words;

  std::unique_ptr<UpstreamRole> (*upstream)(const RoleSettings&);
  /// nullptr where the protocol has no such downstream mode (yet).
  std::unique_ptr<DownstreamRole> (*downstream)(const RoleSettings&);
};

/// THE TABLE.
[[nodiscard]] std::span<const Protocol> protocols() noexcept;
/// nullptr where there is none of that name. Names are lower case.
[[nodiscard]] const Protocol* find_protocol(std::string_view name) noexcept;

/// Returns the reply that tells the client of `error`: one line of printable ASCII, CRLF included,
/// at most 512 bytes. A client that began with TLS gets an alert instead.
[[nodiscard]] std::string failure_reply(const Protocol& protocol, const Error& error,
                                        std::string_view hostname);

}  // namespace starttls::proto
