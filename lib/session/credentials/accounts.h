#pragma once

// Decides which client may log in, and by which name and secret the proxy then logs in to the
// server. Pure and immutable: a decision names the work that is left, and LoginCall does it.

#include <chrono>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "lib/base/error.h"
#include "lib/config/config.h"
#include "lib/proto/role.h"
#include "lib/session/credentials/secret_request.h"

namespace starttls::session {

/// The accounts of one service with a login.
class Accounts {
 public:
  explicit Accounts(const config::Service& service);

  struct Decision {
    /// False: the client's name or password is wrong. Not to be reported before the hash is
    /// computed, because a wrong name must take as long as a wrong password.
    bool right = false;
    /// The hash to compute of the client's password.
    std::optional<Secret> hash = {};
    bool hash_decides = false;            ///< it is the account's own, so the password must have it
    proto::Credentials credentials = {};  ///< without the secret, if there is a file
    std::string file = {};                ///< the secret is in it; "" = it is elsewhere
    /// The store is asked for the secret. Its source is set also for a file, so that the end of the
    /// secret can be noted.
    SecretRequest request = {};
  };
  /// Decides on a request. Errors: client_login, if no source may be asked about such a name;
  /// login, if there is no secret at all.
  [[nodiscard]] Result<Decision> decide(const proto::LoginRequest& request) const;

  [[nodiscard]] std::chrono::milliseconds timeout() const noexcept { return login_.timeout; }

 private:
  [[nodiscard]] const config::Account* find(std::string_view name) const noexcept;
  [[nodiscard]] std::optional<Secret> hash_for(std::string_view name,
                                               const config::Account* row) const;
  [[nodiscard]] Result<Decision> use_source(Decision decision, const config::Account* row,
                                            const std::string& client) const;

  std::string service_;
  config::Login login_;
  std::vector<config::Account> rows_;
  std::vector<Secret> hashes_;  // those of the rows
};

/// Returns the error for a wrong name and for a wrong password.
[[nodiscard]] Error wrong_login();

}  // namespace starttls::session
