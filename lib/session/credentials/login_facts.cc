#include "lib/session/credentials/login_facts.h"

#include <algorithm>
#include <utility>

namespace starttls::session {
namespace {

metrics::LoginOutcome outcome_of(const proto::LoginReport& report) noexcept {
  if (!report.failure) return metrics::LoginOutcome::ok;
  return report.failure->code == Errc::client_login ? metrics::LoginOutcome::client_login
                                                    : metrics::LoginOutcome::login;
}

/// True if the server may have the secret. A client's own one goes where the client meant it to go.
bool may_have(const LoginServer& server, const proto::Credentials& credentials) noexcept {
  return credentials.passed_on || server.secured;
}

}  // namespace

Result<proto::Credentials> for_server(Result<proto::Credentials> credentials,
                                      const LoginServer& server) {
  if (!credentials) return credentials;
  // The configuration demands TLS for such a login. This holds for whatever the leg became.
  if (!may_have(server, *credentials)) {
    return fail(Errc::login, "the secret is not sent to a server without TLS");
  }
  credentials->host = config::peer_name(server.upstream, server.address);
  credentials->port = server.address.port;
  return credentials;
}

std::vector<std::string> fixed_token_users(const config::Service& service) {
  std::vector<std::string> users;
  if (!service.login) return users;
  const auto& login = *service.login;
  const auto add = [&users](const config::SecretSource& source, const std::string& user) {
    if (user.empty() || !source.token || !source.is_fetched()) return;
    if (std::find(users.begin(), users.end(), user) == users.end()) users.push_back(user);
  };
  if (login.when == LoginWhen::connect) add(login.source, login.user);
  for (const auto& row : service.accounts) {
    if (config::uses_proxy_secret(login, row)) {
      add(config::source_of(login, row), config::fixed_user_of(login, row));
    }
  }
  return users;
}

void count_login(metrics::Tally& tally, const proto::LoginReport& report) noexcept {
  const auto outcome = outcome_of(report);
  if (report.client != Mechanism::automatic) {
    tally.logged_in(metrics::LoginSide::client, report.client, outcome);
  }
  if (report.server != Mechanism::automatic) {
    tally.logged_in(metrics::LoginSide::server, report.server, outcome);
  }
}

}  // namespace starttls::session
