#pragma once

// What a leg must do, from its TLS mode alone. Pure, and the only place that reads the sixteen
// pairs.

#include "lib/base/error.h"
#include "lib/base/tls_mode.h"

namespace starttls::session {

/// TLS may come up on a leg of this mode.
constexpr bool uses_tls(TlsMode mode) noexcept {
  return mode != TlsMode::none;
}

/// Nothing to conduct and nothing to edit: octets pass from the first one on, even STARTTLS.
constexpr bool relays_from_first_byte(TlsMode downstream, TlsMode upstream) noexcept {
  return downstream == TlsMode::none && upstream == TlsMode::none;
}

/// The mode that describes a leg once its prelude is over: an opportunistic leg that stayed in the
/// clear is a clear one.
constexpr TlsMode effective_mode(TlsMode mode, bool secured) noexcept {
  return mode == TlsMode::opportunistic && !secured ? TlsMode::none : mode;
}

}  // namespace starttls::session
