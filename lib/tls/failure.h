#pragma once

// Turns the library's error queue into plain words. Both functions empty the queue: a left-over
// entry would be blamed on the next session of the thread.

#include "lib/base/error.h"
#include "lib/base/tls_version.h"
#include "lib/tls/role.h"

namespace starttls::tls {

/// Returns why a handshake failed, in words that a client may see; the library's own words are the
/// evidence.
[[nodiscard]] Error take_handshake_error(Role role, TlsVersion min_version);

/// Returns why a record after the handshake could not be opened or sealed (Errc::tls).
[[nodiscard]] Error take_record_error();

}  // namespace starttls::tls
