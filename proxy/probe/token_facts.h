#pragma once

// The facts that an OAuth access token states about itself, if it is a JWT (RFC 7519, RFC 9068).
// They explain a refusal. Nothing verifies the token's signature here: that is the server's task.

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "lib/base/utc.h"

namespace starttls {

/// The claims of a token. Texts are printable and cut; the token itself is not among them.
struct TokenFacts {
  bool readable = false;  ///< false: it is no JWT, and only its issuer can read it
  std::optional<UnixTime> issued_at = {};
  std::optional<UnixTime> not_before = {};
  std::optional<UnixTime> expires_at = {};
  std::vector<std::string> audience = {};  ///< the servers that it is for
  std::vector<std::string> scope = {};     ///< permissions that a person gave to an application
  std::vector<std::string> roles = {};     ///< permissions of the application itself (Microsoft)
  std::string application = {};
  std::string user = {};
  std::string issuer = {};
};

/// Reads the claims of `token`.
[[nodiscard]] TokenFacts read_token(std::string_view token);

}  // namespace starttls
