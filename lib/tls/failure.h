#pragma once

// The library's error queue in plain words. Whatever is taken from it here is gone from it: a
// left-over entry would be blamed on the next session of the thread.

#include "lib/base/error.h"
#include "lib/base/tls_version.h"
#include "lib/tls/role.h"

namespace starttls::tls {

/// Why a handshake failed, fit for the client's ears; the library's own words are the evidence.
[[nodiscard]] Error take_handshake_error(Role role, TlsVersion min_version);

/// Why a record after the handshake could not be opened or sealed (Errc::tls).
[[nodiscard]] Error take_record_error();

}  // namespace starttls::tls
