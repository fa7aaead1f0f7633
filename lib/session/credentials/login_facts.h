#pragma once

#include <string>
#include <vector>

#include "lib/base/address.h"
#include "lib/config/config.h"
#include "lib/metrics/metrics.h"
#include "lib/proto/role.h"

namespace starttls::session {

/// The server that credentials are for.
struct LoginServer {
  const config::Upstream& upstream;
  const Address& address;
  bool secured;  ///< its leg has TLS
};

/// Adds the server's name and port, unless this server may not have them. The name is never one
/// that the server or DNS gave. Errors: login, if a secret of the proxy would go out in the clear.
[[nodiscard]] Result<proto::Credentials> for_server(Result<proto::Credentials> credentials,
                                                    const LoginServer& server);

/// Returns the accounts at the server that the configuration names, and that use a token from
/// outside, each once.
[[nodiscard]] std::vector<std::string> fixed_token_users(const config::Service& service);

/// Counts a login that has ended, for each side that took part.
void count_login(metrics::Tally& tally, const proto::LoginReport& report) noexcept;

}  // namespace starttls::session
