#pragma once

// The pages of the admin endpoint, made from the facts that the caller passes. There is no socket,
// no thread and no clock here.

#include <chrono>
#include <cstddef>
#include <string>
#include <vector>

#include "lib/base/utc.h"
#include "lib/session/session.h"
#include "proxy/admin/http.h"
#include "proxy/certificates.h"

namespace starttls {

/// Returns the reasons why the process is not ready: it is draining, or a certificate is not valid
/// at `now`. A few words each. Empty if it is ready.
[[nodiscard]] std::vector<std::string> obstacles(bool draining,
                                                 const std::vector<CertificateInUse>& certificates,
                                                 UnixTime now);

/// Returns `ok` with the line "WORD" if there are no obstacles. Otherwise returns unavailable, with
/// a line "not WORD: OBSTACLE" for each of them.
[[nodiscard]] AdminResponse verdict(std::string_view word,
                                    const std::vector<std::string>& obstacles);

/// The sessions that the workers have reported.
struct Listing {
  std::size_t open = 0;   ///< listed or not
  bool complete = false;  ///< all workers have reported, and all of their sessions
  std::vector<session::SessionStatus> sessions;
};
[[nodiscard]] AdminResponse to_json(const Listing& listing);

}  // namespace starttls
