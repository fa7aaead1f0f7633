#pragma once

// The answer of a source that was asked for a secret.

#include <chrono>
#include <cstddef>
#include <optional>
#include <string_view>
#include <variant>

#include "lib/base/error.h"
#include "lib/base/secret.h"
#include "lib/base/utc.h"
#include "lib/metrics/metrics.h"

namespace starttls::session {

/// The longest answer of a source that is read.
inline constexpr std::size_t kMaxAnswer = 16UL * 1024;

/// The end of a secret, as far as its source says it. Both may be known; the earlier one counts.
struct SecretEnd {
  std::optional<std::chrono::seconds> after = {};  ///< from the answer on
  std::optional<UnixTime> at = {};

  /// Returns the end of a secret that came at `now`.
  [[nodiscard]] std::optional<UnixTime> as_time(UnixTime now) const noexcept;
};

struct FreshSecret {
  Secret secret;
  SecretEnd end = {};
};

/// There is no secret. The error is `login`.
struct NoSecret {
  metrics::SecretFailure failure;
  Error error;
};

using SecretAnswer = std::variant<FreshSecret, NoSecret>;

/// True if `secret` may be sent to a server: it is not too long, and has no byte that would end a
/// line or a field of the exchange.
[[nodiscard]] bool is_usable(const Secret& secret, bool token) noexcept;

/// Returns the secret in the first line of `text`, up to LF or CRLF. A byte order mark is dropped;
/// blanks stay. A line with JSON holds the token among other members. `whole` is false if `text`
/// was cut.
[[nodiscard]] SecretAnswer secret_in(std::string_view text, bool whole, bool token);

/// Returns the failure of a source that has not answered before its deadline.
[[nodiscard]] NoSecret too_late();

}  // namespace starttls::session
