#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "lib/proto/parts.h"

namespace starttls::proto {

/// One protocol: a row of the table. A new protocol is one source file, one line in parts.h and one
/// row.
struct Protocol : Parts {
  std::string_view name;
  std::uint16_t port;      ///< default port, STARTTLS
  std::uint16_t tls_port;  ///< default port, implicit TLS; 0 = none is registered
  /// ALPN identifiers, separated by spaces; "" = the protocol has none.
  std::string_view alpn;
};

/// Returns the table of all protocols.
[[nodiscard]] std::span<const Protocol> protocols() noexcept;
/// Returns nullptr if there is none of that name. Names are lower case.
[[nodiscard]] const Protocol* find_protocol(std::string_view name) noexcept;

/// Returns the reply that reports `error` to the client: one line of printable ASCII, CRLF
/// included, at most 512 bytes. A client that began with TLS gets an alert instead. `server` is the
/// name of the server, if the error concerns it; "" for errors of the client and of the proxy.
[[nodiscard]] std::string failure_reply(const Protocol& protocol, const Error& error,
                                        std::string_view hostname, std::string_view server = {});

}  // namespace starttls::proto
