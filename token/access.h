#pragma once

// `starttls-token access`: an access token that can be used now.

#include <functional>
#include <memory>
#include <string_view>

#include "lib/base/secret.h"
#include "lib/base/utc.h"
#include "token/entry.h"
#include "token/failure.h"
#include "token/http.h"
#include "token/settings.h"

namespace starttls::token {

/// The things that a command works with. Tests replace the clock and the network.
struct Surroundings {
  Settings settings;
  std::function<UnixTime()> now;
  std::function<Outcome<std::unique_ptr<Http>>()> make_http;
};

/// Returns the client that renews an account. `entry` is the stored one, or null. Errors: no_input,
/// if the account is unknown or no person has authorized it; config, if the file has changed since.
[[nodiscard]] Outcome<Client> renewing_client(const Settings& settings, std::string_view account,
                                              const Entry* entry);

/// Renews the token if it is still necessary when the account's lock is there. Stores it before it
/// returns it.
[[nodiscard]] Outcome<Secret> renewed_token(const Surroundings& with, std::string_view account);

/// Returns the stored token if it is fresh. Otherwise a process of its own renews it. That process
/// goes on if this one is killed, because the endpoint may have made the old refresh token invalid
/// already.
[[nodiscard]] Outcome<Secret> access_token(const Surroundings& with, std::string_view account);

}  // namespace starttls::token
