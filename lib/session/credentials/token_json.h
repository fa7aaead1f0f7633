#pragma once

// The JSON around an OAuth access token: the answer of a token endpoint (RFC 6749 §5.1), and the
// token itself if it is a JWT (RFC 7519). All of it may come from a stranger.

#include <optional>
#include <string>
#include <string_view>

#include "lib/session/credentials/secret_answer.h"

namespace starttls::session {

/// Reads the members `access_token` (or `accessToken`), `expires_in` and `expires_on` of an object,
/// and skips all others. Returns nothing if `json` is not one object with one token.
[[nodiscard]] std::optional<FreshSecret> read_token_json(std::string_view json);

/// Returns the code of a token endpoint's error, such as "invalid_grant" (RFC 6749 §5.2); "" if
/// `json` is no object with one.
[[nodiscard]] std::string endpoint_error_in(std::string_view json);

/// Returns the expiry (`exp`) that a JWT names; nothing if `token` is no JWT, or names none.
[[nodiscard]] std::optional<UnixTime> expiry_of_jwt(std::string_view token);

}  // namespace starttls::session
