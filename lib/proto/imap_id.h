#pragma once

// A client's ID command (RFC 2971), read as a whole and written anew for the server.
//
// A server that trusts the proxy's address believes some fields of an ID: Dovecot reads the
// client's address and session from them (login_trusted_networks). So the server must find no field
// that the proxy has not found. Two rules ensure that:
// - The reader accepts everything that servers are known to accept (literals, needless backslashes,
//   any number of spaces between strings, none included). It refuses the rest.
// - The server gets our own spelling: quoted strings, each name with its value, one space between
//   them. An ID that has this spelling already passes unchanged, as those of most clients do.

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "lib/base/error.h"
#include "lib/proto/lines.h"

namespace starttls::proto::imap {

/// An ID command as far as it has arrived.
struct IdCommand {
  enum class State : std::uint8_t {
    incomplete,  ///< more bytes are needed
    whole,       ///< `arguments` is for the server
    malformed,   ///< it must not pass. `last_line` may announce a literal, which is not read
  };
  /// Errors: those of `next_line`, and a literal beyond the limit, as soon as it is announced.
  Result<State> state = State::incomplete;
  std::size_t size = 0;  ///< bytes of the input that were read; final unless `incomplete`
  std::string_view last_line = {};  ///< of them, without its end
  std::size_t continuations = 0;    ///< literals so far that the client sends only after a "+"
  std::string arguments = {};       ///< with the end of the last line
};

/// Reads the arguments of an ID from `input`, which begins after the verb and one space. The result
/// does not depend on how the input was cut. All lines and literals together are limited to
/// `rules.limit`. Fields about the client's connection are left out of `arguments`; if no field is
/// left it is NIL.
[[nodiscard]] IdCommand read_id(std::string_view input, LineRules rules);

}  // namespace starttls::proto::imap
