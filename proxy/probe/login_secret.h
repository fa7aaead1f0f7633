#pragma once

#include "lib/base/error.h"
#include "lib/base/secret.h"
#include "proxy/probe/login_choice.h"
#include "proxy/probe/login_options.h"

namespace starttls {

/// Gets the secret of a probe's login from its source. It waits, so it is called before there is a
/// loop, and before the sandbox. Errors: login.
[[nodiscard]] Result<Secret> read_login_secret(const LoginChoice& choice,
                                               const LoginOptions& options);

}  // namespace starttls
