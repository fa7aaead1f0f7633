#pragma once

// Settings of roles for the dialogue tests.

#include "lib/proto/role.h"

namespace starttls::test {

/// Returns the settings of an upstream role. The tag is for IMAP; other protocols ignore it.
inline proto::RoleSettings upstream(TlsMode mode) {
  return {.upstream = mode, .hostname = "proxy.example", .tag = "R4nd"};
}

/// Returns the settings of a downstream role. `server` is the mode of the server's leg.
inline proto::RoleSettings downstream(TlsMode mode, TlsMode server = TlsMode::starttls) {
  return {.downstream = mode, .upstream = server, .hostname = "proxy.example"};
}

}  // namespace starttls::test
