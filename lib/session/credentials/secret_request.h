#pragma once

#include <chrono>
#include <optional>
#include <string>

#include "lib/base/secret.h"
#include "lib/config/config.h"

namespace starttls::session {

/// A request for the secret of an account.
struct SecretRequest {
  std::string service = {};
  std::string account = {};    ///< the name of the row; "" = the source is that of the login
  std::string user = {};       ///< at the server
  bool user_is_fixed = false;  ///< by the configuration; false: a client has given it
  config::SecretSource source = {};
  std::chrono::milliseconds lifetime{};
  std::chrono::milliseconds timeout{};
  std::optional<Secret> refused = {};  ///< by the server
};

}  // namespace starttls::session
