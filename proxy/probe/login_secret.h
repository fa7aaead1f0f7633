#pragma once

#include <functional>

#include "lib/base/error.h"
#include "lib/base/secret.h"
#include "lib/session/credentials/secret_answer.h"
#include "proxy/probe/login_choice.h"
#include "proxy/probe/login_options.h"

namespace starttls {

/// Asks a socket or a program for the secret of a login.
using AskSource = std::function<session::SecretAnswer(const LoginChoice&)>;

/// Gets the secret of a probe's login from its source. It waits, and reads files that the sandbox
/// does not allow. Errors: login.
[[nodiscard]] Result<Secret> read_login_secret(const LoginChoice& choice,
                                               const LoginOptions& options, const AskSource& ask);

}  // namespace starttls
