#pragma once

// Line framing and its limits, for all protocols and both roles of a prelude. The end of a line
// decides what a command is. So the rules are strict, and nothing is repaired. A parser that skips
// a CR or stops at a NUL sees another line than the next program does.

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "lib/base/error.h"
#include "lib/base/tls_mode.h"

namespace starttls::proto {

/// Longest line of a prelude, its end included. SMTP needs 512 bytes (RFC 5321 §4.5.3.1.4 and .5),
/// IMAP clients may send 8192 (RFC 7162 §4). The longer limit serves all.
inline constexpr std::size_t kMaxLine = 8192;

/// Longest reply, all its lines together. No RFC sets a limit. This one bounds how much a session
/// stores for a peer (real EHLO replies stay under 2 KiB).
inline constexpr std::size_t kMaxReply = 65536;

/// Longest line of our own, its end included (RFC 5321 §4.5.3.1.5, RFC 2449 §4, RFC 3977 §3.1).
inline constexpr std::size_t kMaxOwnLine = 512;

/// The ends of a line that are accepted.
enum class LineEnd : std::uint8_t {
  crlf,        ///< of a server on a leg that upgrades: a bare LF is how smuggling starts
  crlf_or_lf,  ///< of other servers, and of clients
};

struct LineRules {
  LineEnd end;
  Errc violation;  ///< `protocol` for lines of the server, `client_protocol` for the client's
  std::size_t limit = kMaxLine;  ///< bytes, the line's end included
};

/// True if a leg of this mode begins in the clear and may end in TLS.
[[nodiscard]] constexpr bool upgrades(TlsMode mode) noexcept {
  return mode == TlsMode::starttls || mode == TlsMode::opportunistic;
}

/// Rules of the client's lines, in every mode. Old devices and probes end a line with a bare LF. It
/// passes unchanged (D13).
inline constexpr LineRules kClientRules{.end = LineEnd::crlf_or_lf,
                                        .violation = Errc::client_protocol};

/// Longest response of SASL, its line's end included (RFC 4954 §4).
inline constexpr std::size_t kMaxResponse = 12288;
inline constexpr LineRules kResponseRules{
    .end = LineEnd::crlf_or_lf, .violation = Errc::client_protocol, .limit = kMaxResponse};

/// Longest command that has a whole login, its literals included. Each byte of the name and the
/// password may be escaped.
inline constexpr std::size_t kMaxLoginLine = 20480;
inline constexpr LineRules kLoginRules{
    .end = LineEnd::crlf_or_lf, .violation = Errc::client_protocol, .limit = kMaxLoginLine};

/// Returns the rules of a server's leg. A line that breaks them is the error `violation`.
[[nodiscard]] constexpr LineRules line_rules(TlsMode mode, Errc violation) noexcept {
  return {.end = upgrades(mode) ? LineEnd::crlf : LineEnd::crlf_or_lf, .violation = violation};
}

/// A line, as views into the input that was given to `next_line`.
struct Line {
  std::string_view text;  ///< without its end
  std::string_view raw;   ///< with it, as it came
};

/// Returns the first line of `input`, or nothing if it is incomplete (it is after a CR). The result
/// does not depend on how the input was cut. Errors, as soon as they are certain: `rules.violation`
/// for a line longer than `rules.limit`, a NUL, a CR without LF, and a bare LF if the rules forbid
/// it. Only lines of the server are given as evidence: a client's line may hold a password.
[[nodiscard]] Result<std::optional<Line>> next_line(std::string_view input, LineRules rules);

/// True if the first line of `input` is longer than `rules.limit`, and breaks no other rule within
/// it.
[[nodiscard]] bool is_too_long(std::string_view input, LineRules rules);

/// Returns the error for input that breaks the rules. `what` completes "server sent ...".
[[nodiscard]] tl::unexpected<Error> violation(LineRules rules, std::string_view what,
                                              std::string_view input);

/// Limits the lines of one reply to `kMaxReply` together.
class ReplyMeter {
 public:
  /// Adds a line of the reply. Errors: protocol.
  [[nodiscard]] Result<> add(const Line& line);
  void reset() noexcept { bytes_ = 0; }

 private:
  std::size_t bytes_ = 0;
};

}  // namespace starttls::proto
