#pragma once

// Reads a secret from the first line of a file.

#include <string>
#include <string_view>
#include <variant>

#include "lib/base/error.h"
#include "lib/base/secret.h"
#include "lib/metrics/metrics.h"

namespace starttls::session {

/// There is no secret. The error is `login`.
struct NoSecret {
  metrics::SecretFailure failure;
  Error error;
};

using SecretAnswer = std::variant<Secret, NoSecret>;

/// True if `secret` may be sent to a server: it is not too long, and has no byte that would end a
/// line or a field of the exchange.
[[nodiscard]] bool is_usable(const Secret& secret, bool token) noexcept;

/// Returns the secret in the first line of `text`, up to LF or CRLF. A byte order mark is dropped;
/// blanks stay. `whole` is false if `text` was cut.
[[nodiscard]] SecretAnswer secret_in(std::string_view text, bool whole, bool token);

/// Reads a file. It waits for the disk, so it is not for a loop.
[[nodiscard]] SecretAnswer read_secret(const std::string& path, bool token);

}  // namespace starttls::session
