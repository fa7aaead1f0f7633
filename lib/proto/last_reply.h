#pragma once

// The code of a server's last reply, for the log. An administrator sees by it that the server has
// refused a password, which is no failure of the session.

#include <cstdint>
#include <string_view>

namespace starttls::proto {

/// Reads the code of the last reply in `bytes` of an SMTP server (RFC 5321 §4.2). Returns `before`,
/// the code known so far (0 = none), if there is no reply. `begins_line`: the bytes begin a line.
///
/// A 221 counts only if it is the first reply. It answers QUIT, and would hide the reply that made
/// the client leave. Only the last lines of the last 1024 bytes are read, so that the cost does not
/// depend on the size. A reply that came in pieces may be missed.
[[nodiscard]] std::uint16_t last_smtp_reply(std::uint16_t before, std::string_view bytes,
                                            bool begins_line) noexcept;

}  // namespace starttls::proto
