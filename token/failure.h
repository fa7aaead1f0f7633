#pragma once

// How a command of starttls-token fails: with an exit status for programs and words for people.

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>

#include <tl/expected.hpp>

namespace starttls::token {

/// Exit statuses, as in sysexits.h. 0 is success.
enum class Exit : std::uint8_t {
  usage = 64,        ///< the command line is wrong
  no_input = 66,     ///< there is no such account
  unavailable = 69,  ///< the endpoint's certificate is not acceptable
  software = 70,     ///< an exception that no code catches
  system = 71,       ///< the system refuses something that the program needs
  io = 74,           ///< the store or the output cannot be read or written
  temporary = 75,    ///< network, HTTP 429 or 5xx: the same command may work later
  protocol = 76,     ///< the endpoint's answer is not one of OAuth
  permission = 77,  ///< the grant is no longer valid, or was refused: a person must authorize again
  config = 78,      ///< the configuration is wrong, or the endpoint refuses the client
};

struct Failure {
  Exit status;
  /// Words for a person. They contain no secret, and nothing from a peer unless it is escaped.
  std::string reason;
  /// The code of an OAuth error (RFC 6749 §5.2, RFC 8628 §3.5); "" if the answer had none.
  std::string oauth_error = {};
  /// The endpoint's Retry-After.
  std::optional<std::chrono::seconds> retry_after = {};
};

template <typename T = void>
using Outcome = tl::expected<T, Failure>;

[[nodiscard]] inline tl::unexpected<Failure> failed(Exit status, std::string reason) {
  return tl::unexpected<Failure>(Failure{status, std::move(reason)});
}

[[nodiscard]] inline tl::unexpected<Failure> failed(Failure failure) {
  return tl::unexpected<Failure>(std::move(failure));
}

}  // namespace starttls::token
