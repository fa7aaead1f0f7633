#pragma once

// The authorization code with PKCE (RFC 7636) and a redirect to loopback (RFC 8252): the address
// that a person opens, and the request that their browser then sends to this program.

#include <optional>
#include <string>
#include <string_view>

#include "lib/base/secret.h"
#include "token/failure.h"
#include "token/settings.h"

namespace starttls::token {

/// One attempt. Its random values are used once.
struct CodeAttempt {
  std::string state;     ///< comes back with the code (RFC 6749 §10.12)
  Secret verifier;       ///< goes to the token endpoint with the code (RFC 7636 §4.1)
  std::string redirect;  ///< such as "http://127.0.0.1:40123/"
};

/// Makes the random values of an attempt.
[[nodiscard]] CodeAttempt begin_attempt(std::string redirect);

/// Returns BASE64URL(SHA256(verifier)) (RFC 7636 §4.2).
[[nodiscard]] std::string code_challenge(std::string_view verifier);

/// Returns the address that a person opens.
[[nodiscard]] std::string authorization_address(const Client& client, std::string_view account,
                                                const CodeAttempt& attempt);

/// Reads the target of a request: "/?code=...&state=...". Returns nothing if it does not belong to
/// the attempt: another path, no state or another state. Such a request may come from any page in
/// the browser, so it ends nothing. Errors: the provider's, such as access_denied.
[[nodiscard]] Outcome<std::optional<Secret>> read_redirect(std::string_view target,
                                                           std::string_view path,
                                                           const CodeAttempt& attempt);

/// Reads the address that a person has copied from the browser. Errors: usage, if it is not the
/// address of this attempt; the provider's.
[[nodiscard]] Outcome<Secret> read_pasted(std::string_view address, const CodeAttempt& attempt);

}  // namespace starttls::token
