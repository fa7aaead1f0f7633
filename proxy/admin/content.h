#pragma once

// What the admin endpoint says, from what it was told: without a socket, a thread or a clock.

#include <chrono>
#include <cstddef>
#include <string>
#include <vector>

#include "lib/base/utc.h"
#include "lib/session/session.h"
#include "proxy/admin/http.h"
#include "proxy/certificates.h"

namespace starttls {

/// What keeps us from serving, in a few words each: draining, and certificates that are not valid
/// at `now`. Empty: ready.
[[nodiscard]] std::vector<std::string> obstacles(bool draining,
                                                 const std::vector<CertificateInUse>& certificates,
                                                 UnixTime now);

/// `ok` and "WORD", or unavailable and "not WORD: ..., ...", each a line.
[[nodiscard]] AdminResponse verdict(std::string_view word,
                                    const std::vector<std::string>& obstacles);

/// What workers have told of their sessions.
struct Listing {
  std::size_t open = 0;   ///< listed or not
  bool complete = false;  ///< all workers have told, and of all of their sessions
  std::vector<session::SessionStatus> sessions;
};
[[nodiscard]] AdminResponse to_json(const Listing& listing);

}  // namespace starttls
