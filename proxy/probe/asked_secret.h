#pragma once

#include <optional>
#include <string>

#include "lib/net/loop.h"
#include "lib/session/credentials/secret_answer.h"
#include "proxy/launcher/start.h"
#include "proxy/probe/login_choice.h"

namespace starttls {

/// Asks the socket or the program of a login as the proxy does. Runs the loop until there is an
/// answer. Takes the launcher over; without one, no program can be run.
[[nodiscard]] session::SecretAnswer ask_source(net::Loop& loop, const std::string& service,
                                               const LoginChoice& choice,
                                               std::optional<launcher::Process> launcher);

}  // namespace starttls
