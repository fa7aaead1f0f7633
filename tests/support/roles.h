#pragma once

// Settings of roles, as the dialogue tests want them.

#include "lib/proto/role.h"

namespace starttls::test {

/// Of an upstream role. The tag is IMAP's; others do not look at it.
inline proto::RoleSettings upstream(TlsMode mode) {
  return {.upstream = mode, .hostname = "proxy.example", .tag = "R4nd"};
}

/// Of a downstream role, before a server reached by `server`.
inline proto::RoleSettings downstream(TlsMode mode, TlsMode server = TlsMode::starttls) {
  return {.downstream = mode, .upstream = server, .hostname = "proxy.example"};
}

}  // namespace starttls::test
