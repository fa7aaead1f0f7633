#pragma once

// Finds the service and the login that `probe --login` is about.

#include <chrono>
#include <cstddef>
#include <span>
#include <string>

#include "lib/base/error.h"
#include "lib/base/login_settings.h"
#include "lib/config/config.h"
#include "proxy/probe/login_options.h"

namespace starttls {

/// A login to try.
struct LoginChoice {
  std::string account = {};  ///< the row's name in the configuration; "" = none
  std::string user = {};     ///< at the server
  Mechanism mechanism = Mechanism::automatic;
  bool token = false;                   ///< the secret is an OAuth access token
  config::SecretSource source = {};     ///< not set: the option names the secret's file
  std::string source_row = {};          ///< the row that it is in; "" = the service's login
  std::chrono::milliseconds timeout{};  ///< of the source
};

/// Returns the index of the service to probe. `name` is "" if there is only one. Errors: config.
[[nodiscard]] Result<std::size_t> find_service(std::span<const config::Service> services,
                                               const std::string& name);

/// Returns the login that the options name. Errors: config, in words for the person that typed
/// them: there is no such account, its secret is missing, or the server would not have to prove its
/// identity before it hears the secret.
[[nodiscard]] Result<LoginChoice> choose_login(const config::Service& service,
                                               const LoginOptions& options);

}  // namespace starttls
