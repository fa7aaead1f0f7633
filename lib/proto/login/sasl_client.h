#pragma once

// The client's side of the SASL mechanisms that carry a password or a token. Each is a fixed series
// of messages. So a server that asks for more than that gets nothing, and no exchange is endless.

#include <cstddef>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>

#include "lib/base/login_settings.h"
#include "lib/base/secret.h"
#include "lib/proto/role.h"

namespace starttls::proto {

class SaslClient {
 public:
  /// `credentials` outlives us. `mechanism` is neither `automatic` nor `native`.
  SaslClient(Mechanism mechanism, const Credentials& credentials) noexcept
      : mechanism_(mechanism), credentials_(credentials) {}

  /// True if the first message may go into the command: it needs no challenge.
  [[nodiscard]] bool speaks_first() const noexcept { return mechanism_ != Mechanism::login; }
  /// Returns the next message in base64, or nothing if none is due. The last message of a token's
  /// mechanism answers the server's error: an empty one, or 0x01 (RFC 7628 §3.2.3).
  [[nodiscard]] std::optional<Secret> next();
  /// True if a message with the secret was returned. A server cannot accept a login before that.
  [[nodiscard]] bool has_given_secret() const noexcept;
  /// True if the last message has answered the server's error.
  [[nodiscard]] bool has_answered_error() const noexcept;

 private:
  Mechanism mechanism_;
  const Credentials& credentials_;
  std::size_t messages_ = 0;
};

/// Returns the name under which servers list the mechanism.
[[nodiscard]] std::string_view sasl_name(Mechanism mechanism) noexcept;

/// Returns `status` of the error in JSON that a challenge carries, for the log; "" if there is
/// none. The other members may not be logged.
[[nodiscard]] std::string error_status(std::string_view challenge);

/// Joins texts to a secret, and leaves no other copy.
[[nodiscard]] Secret join(std::initializer_list<std::string_view> parts);

}  // namespace starttls::proto
