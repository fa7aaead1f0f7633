#pragma once

// For clients that begin with TLS on a listener that speaks first in the clear.

#include <string_view>

#include "lib/base/error.h"

namespace starttls::proto {

/// True if the first bytes of a client are a TLS record with a handshake message (RFC 8446 §5.1).
[[nodiscard]] constexpr bool begins_with_tls(std::string_view first_bytes) noexcept {
  return first_bytes.starts_with("\x16\x03");
}

/// Returns the error for such a client. Its reply is the alert below (`failure_reply`).
[[nodiscard]] inline Error tls_on_clear_port() {
  return {Errc::tls_on_clear_port,
          "client began with TLS; this listener is for clear text / STARTTLS",
          "change the client, or set downstream.tls = implicit"};
}

/// A fatal alert, unexpected_message (RFC 8446 §6). A client that speaks TLS understands nothing
/// else.
inline constexpr std::string_view kUnexpectedMessage{"\x15\x03\x01\x00\x02\x02\x0a", 7};

}  // namespace starttls::proto
