#pragma once

// The changes that the proxy makes to the peers' words during a prelude, and the limits of a
// prelude's dialogue.

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "lib/base/ascii.h"
#include "lib/base/error.h"
#include "lib/proto/lines.h"
#include "lib/proto/role.h"
#include "lib/proto/words.h"

namespace starttls::proto {

/// Maximum commands that wait for the server's replies. A client that waits for replies has one. A
/// pipelining client has a handful before it commits.
inline constexpr std::size_t kMaxUnanswered = 1000;

/// True for a mechanism that the proxy must not offer. `external`: EXTERNAL is one too, so that no
/// client logs in with our own certificate by accident (RFC 4422 appendix A). This is no
/// protection: a client that has committed can ask for it unseen (config::Exposure::certificate).
[[nodiscard]] constexpr bool is_barred_mechanism(std::string_view name, bool external) noexcept {
  // Channel binding ties a login to one TLS connection, and here are two (RFC 5929, RFC 9266).
  return ascii::iends_with(name, "-PLUS") || (external && ascii::iequals(name, "EXTERNAL"));
}

/// Returns `list` without the barred mechanisms, or nothing if it has none of them.
[[nodiscard]] inline std::optional<std::string> filter_mechanisms(std::string_view list,
                                                                  bool external) {
  std::string kept;
  bool dropped = false;
  for (auto name = take_word(list); !name.empty(); name = take_word(list)) {
    if (is_barred_mechanism(name, external)) {
      dropped = true;
      continue;
    }
    if (!kept.empty()) kept += ' ';
    kept += name;
  }
  if (!dropped) return std::nullopt;
  return kept;
}

/// Returns the greeting for the client if the server's came in the clear. An attacker may have
/// written on that leg, so it is one line with a status of our own (`status` ends in a space). If
/// no text is left or wanted, it has our name and `service`.
[[nodiscard]] inline std::string reduced_greeting(std::string_view status, std::string_view text,
                                                  const RoleSettings& settings,
                                                  std::string_view service) {
  constexpr std::string_view kEnd = "\r\n";
  std::string words;
  if (settings.greeting_text) {
    words = ascii::printable(text, kMaxOwnLine - status.size() - kEnd.size());
    words = ascii::trim(words);
  }
  if (words.empty()) words = settings.hostname + ' ' + std::string(service);
  return std::string(status) + words + std::string(kEnd);
}

/// True if the code of a reply means that the server does not accept such a command. Other
/// refusals, such as 550 for a VRFY, are answers to a good command (D12).
[[nodiscard]] constexpr bool refuses_command(std::uint64_t code) noexcept {
  return (code >= 500 && code <= 504) || code == 530;
}

/// Counts commands that the server or the proxy refuses, so that no client guesses for long.
class RefusalMeter {
 public:
  /// Counts a refusal. Errors: too_many_errors, with the twentieth.
  [[nodiscard]] Result<> add() {
    constexpr unsigned kMaxErrors = 20;
    if (++errors_ < kMaxErrors) return {};
    return fail(Errc::too_many_errors, "too many errors");
  }

 private:
  unsigned errors_ = 0;
};

}  // namespace starttls::proto
