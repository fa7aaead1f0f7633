#pragma once

// The commands of a client, as downstream roles that read line by line see them, and what the roles
// do with them.

#include <cstdint>
#include <string>
#include <string_view>

namespace starttls::proto {

/// A command line of the client, split into its parts.
struct Command {
  std::string_view verb;
  std::string_view arguments;  ///< everything after the verb
  std::string_view text;       ///< the whole line without its end
  bool is_whole = true;        ///< false: the line is too long, and this is its beginning
};

/// The handling of one command of the client.
struct Action {
  enum class Kind : std::uint8_t {
    pass,        ///< the server answers
    list,        ///< the server may answer with a list, which passes
    edit,        ///< the server may answer with a list of capabilities, which is edited
    mechanisms,  ///< the same with a list of SASL mechanisms, one per line
    answer,      ///< the proxy answers
    refuse,      ///< the proxy answers, and it counts as an error
    challenge,   ///< the proxy answers, and the client's next line is a response (SASL)
    log_in,      ///< the client's login is complete. It begins after all earlier replies
    start_tls,   ///< the client's handshake begins after all earlier replies
    finish,      ///< the proxy answers, and the session ends after all earlier replies
    commit,      ///< the relay begins
  };
  Kind kind;
  std::string words = {};    ///< the proxy's answer, CRLF included
  bool is_repeated = false;  ///< a fresh connection to the server must hear it first, too
  std::uint64_t skip = 0;  ///< bytes after the line that are dropped, because they are no commands
};

/// True if the proxy answers the command.
[[nodiscard]] inline bool is_ours(const Action& action) noexcept {
  switch (action.kind) {
    case Action::Kind::answer:
    case Action::Kind::refuse:
    case Action::Kind::challenge:
    case Action::Kind::finish:
      return true;
    case Action::Kind::pass:
    case Action::Kind::list:
    case Action::Kind::edit:
    case Action::Kind::mechanisms:
    case Action::Kind::log_in:
    case Action::Kind::start_tls:
    case Action::Kind::commit:
      break;
  }
  return false;
}

}  // namespace starttls::proto
