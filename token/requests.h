#pragma once

// The forms that go to token endpoints and device endpoints.

#include <chrono>
#include <string>

#include "lib/base/secret.h"
#include "lib/base/utc.h"
#include "token/code_flow.h"
#include "token/failure.h"
#include "token/settings.h"
#include "token/text.h"

namespace starttls::token {

/// Returns the signed statement by which a client identifies itself (RFC 7523 §2.2 and §3). `id`
/// must not repeat. Errors: config.
[[nodiscard]] Outcome<std::string> client_assertion(const Client& client, UnixTime now,
                                                    const std::string& id);

// Each of these also adds what identifies the client: its id, and its secret or an assertion.
// Errors: config.

/// RFC 6749 §4.4.
[[nodiscard]] Outcome<Form> client_credentials_form(const Client& client, UnixTime now);
/// RFC 6749 §6. The scope stays the one that was granted.
[[nodiscard]] Outcome<Form> refresh_form(const Client& client, const Secret& refresh_token,
                                         UnixTime now);
/// RFC 6749 §4.1.3, RFC 7636 §4.5.
[[nodiscard]] Outcome<Form> code_form(const Client& client, const CodeAttempt& attempt,
                                      const Secret& code, UnixTime now);
/// RFC 8628 §3.1.
[[nodiscard]] Outcome<Form> device_form(const Client& client, UnixTime now);
/// RFC 8628 §3.4.
[[nodiscard]] Outcome<Form> poll_form(const Client& client, const Secret& device_code,
                                      UnixTime now);

}  // namespace starttls::token
