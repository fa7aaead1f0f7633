#include "lib/session/credentials/login_facts.h"

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
