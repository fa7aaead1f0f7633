#pragma once

// Decides what a leg must do, from its TLS mode alone. Pure, and the only file that reads the
// sixteen pairs of modes.

#include "lib/base/error.h"
#include "lib/base/tls_mode.h"

namespace starttls::session {

/// True if TLS may come up on a leg of this mode.
constexpr bool uses_tls(TlsMode mode) noexcept {
  return mode != TlsMode::none;
}

/// True if there is no dialogue to conduct or edit: bytes pass from the first one on, even
/// STARTTLS.
constexpr bool relays_from_first_byte(TlsMode downstream, TlsMode upstream) noexcept {
  return downstream == TlsMode::none && upstream == TlsMode::none;
}

/// Returns the mode that describes a leg once its prelude is over: an opportunistic leg that stayed
/// in the clear is a clear one.
constexpr TlsMode effective_mode(TlsMode mode, bool secured) noexcept {
  return mode == TlsMode::opportunistic && !secured ? TlsMode::none : mode;
}

}  // namespace starttls::session
