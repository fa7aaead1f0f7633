#pragma once

// `starttls-proxy probe`: opens a service's connection to its server once, with the opener of a
// session, and reports the result.

#include <memory>
#include <optional>

#include "lib/base/secret.h"
#include "lib/config/exposure.h"
#include "lib/net/loop.h"
#include "lib/session/service.h"
#include "proxy/probe/login_choice.h"
#include "proxy/probe/report.h"

namespace starttls {

/// A login to try once the server is accepted, with its secret or the reason why there is none.
struct LoginAttempt {
  LoginChoice choice;
  Result<Secret> secret;
};

/// The things that a probe needs besides the service.
struct ProbeOptions {
  std::string record_cipher = {};                       ///< for the report: see tls::describe
  config::Spelling spelling = config::Spelling::flags;  ///< of the settings, in the advice
  std::optional<LoginAttempt> login = {};
};

/// Probes the only address of the service, and runs the loop until that is done. The prelude has
/// the time that a session gives it. The question for the server's capabilities, which follows, has
/// the same time again, and so has a login.
[[nodiscard]] ProbeReport probe(net::Loop& loop, std::shared_ptr<const session::Service> service,
                                ProbeOptions options);

}  // namespace starttls
