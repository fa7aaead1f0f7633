#pragma once

// Reads the answers of token endpoints (RFC 6749 §5) and of device endpoints (RFC 8628 §3.2).

#include <chrono>
#include <optional>
#include <string>

#include "lib/base/secret.h"
#include "token/failure.h"
#include "token/http.h"
#include "token/text.h"

namespace starttls::token {

/// The largest access token. The proxy sends none that is larger.
inline constexpr std::size_t kMaxAccessToken = 9000;
inline constexpr std::size_t kMaxRefreshToken = std::size_t{16} << 10U;

/// Tokens that an endpoint has issued.
struct Grant {
  Secret access_token;
  Secret refresh_token;                          ///< empty: the endpoint gave none
  std::optional<std::chrono::seconds> lifetime;  ///< of the access token, if the endpoint said it
  std::string scope;                             ///< "": as requested
};

/// The answer that begins a device authorization.
struct DeviceCode {
  Secret device_code;
  std::string user_code;         ///< what a person types
  std::string address;           ///< where they type it
  std::string complete_address;  ///< the same with the code in it; "": there is none
  std::chrono::seconds lifetime;
  std::chrono::seconds interval;  ///< between two polls
};

/// Reads the answer to `sent`. An OAuth error becomes a failure with its code. Its description
/// belongs to the reason unless it repeats a secret of `sent`.
[[nodiscard]] Outcome<Grant> read_grant(const Response& response, const Form& sent);
[[nodiscard]] Outcome<DeviceCode> read_device_code(const Response& response, const Form& sent);

/// Returns the failure that an OAuth error means. `code` and `description` are the peer's words.
[[nodiscard]] Failure oauth_failure(std::string_view code, std::string_view description,
                                    const Form& sent);

}  // namespace starttls::token
