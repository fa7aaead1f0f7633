#pragma once

// Line framing and its limits, once for all protocols and both roles of a prelude, and the base of
// upstream roles that read line by line. What ends a line decides what is a command, so the rules
// are strict and nothing is repaired: a parser that skips a CR or stops at a NUL sees another line
// than the peer behind it does.

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "lib/base/error.h"
#include "lib/proto/negotiator.h"

namespace starttls::proto {

/// Longest line of a prelude, its end included. SMTP wants 512 octets (RFC 5321 §4.5.3.1.4 and .5),
/// IMAP clients may send 8192 (RFC 7162 §4); the longer one serves all.
inline constexpr std::size_t kMaxLine = 8192;

/// Longest reply, all its lines together. No RFC sets a limit; it bounds what a peer can make a
/// session hold (real EHLO replies stay under 2 KiB).
inline constexpr std::size_t kMaxReply = 65536;

/// Longest line of our own making, its end included (RFC 5321 §4.5.3.1.5, RFC 2449 §4, RFC 3977
/// §3.1).
inline constexpr std::size_t kMaxOwnLine = 512;

/// What ends a line on a leg.
enum class LineEnd : std::uint8_t {
  crlf,        ///< a leg that upgrades: a bare LF is an error (it is how smuggling starts)
  crlf_or_lf,  ///< a leg that does not: old devices end commands with a bare LF
};

struct LineRules {
  LineEnd end;
  Errc violation;  ///< `protocol` for lines of the server, `client_protocol` for the client's
  std::size_t limit = kMaxLine;  ///< octets, the line's end included
};

/// Does a leg of this mode begin in the clear and end in TLS?
[[nodiscard]] constexpr bool upgrades(TlsMode mode) noexcept {
  return mode == TlsMode::starttls || mode == TlsMode::opportunistic;
}

/// The rules of a leg for lines whose violations are `violation`.
[[nodiscard]] constexpr LineRules line_rules(TlsMode mode, Errc violation) noexcept {
  return {.end = upgrades(mode) ? LineEnd::crlf : LineEnd::crlf_or_lf, .violation = violation};
}

/// Views into the input that was given to `next_line`.
struct Line {
  std::string_view text;  ///< without its end
  std::string_view raw;   ///< with it, as it came
};

/// The first line of `input`; nothing where it is still incomplete (a CR at the very end is). What
/// comes out does not depend on how the input was cut. Errors, as soon as they are certain:
/// `rules.violation` for a line longer than `rules.limit`, a NUL, a CR that is not followed by LF,
/// a bare LF where the rules forbid it. Evidence is given for the server's lines only: a client's
/// may hold a password.
[[nodiscard]] Result<std::optional<Line>> next_line(std::string_view input, LineRules rules);

/// The error for input that breaks the rules; `what` completes "server sent ...".
[[nodiscard]] tl::unexpected<Error> violation(LineRules rules, std::string_view what,
                                              std::string_view input);

/// Holds one reply to `kMaxReply`, over all its lines.
class ReplyMeter {
 public:
  /// Errors: protocol.
  [[nodiscard]] Result<> add(const Line& line);
  void reset() noexcept { octets_ = 0; }

 private:
  std::size_t octets_ = 0;
};

/// May the server send lines that answer nothing?
enum class Unsolicited : std::uint8_t {
  refuse,  ///< a reply before its command is an attack (CVE-2026-42246)
  allow,   ///< untagged lines of IMAP; a leg whose words are relayed as they are
};

/// An upstream role that is fed whole lines. All that the server says between two of our commands
/// counts as one reply and is held to `kMaxReply`.
class LineUpstream : public UpstreamRole {
 public:
  [[nodiscard]] Result<Step> step(std::string_view input, std::string& to_server) final;

 protected:
  LineUpstream(LineEnd end, Unsolicited unsolicited) noexcept
      : rules_{end, Errc::protocol}, unsolicited_(unsolicited) {}

  /// One line of the server. The line is consumed, whatever the verdict; what follows it is not.
  [[nodiscard]] virtual Result<Verdict> on_line(const Line& line, std::string& to_server) = 0;
  /// `next_line`, or what a protocol has for a line where octets may follow that are none.
  [[nodiscard]] virtual Result<std::optional<Line>> frame(std::string_view input,
                                                          LineRules rules) const {
    return next_line(input, rules);
  }

 private:
  LineRules rules_;
  Unsolicited unsolicited_;
  ReplyMeter meter_;
};

}  // namespace starttls::proto
