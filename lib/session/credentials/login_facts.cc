#include "lib/session/credentials/login_facts.h"

namespace starttls::session {
namespace {

metrics::LoginOutcome outcome_of(const proto::LoginReport& report) noexcept {
  if (!report.failure) return metrics::LoginOutcome::ok;
  return report.failure->code == Errc::client_login ? metrics::LoginOutcome::client_login
                                                    : metrics::LoginOutcome::login;
}

}  // namespace

void name_server(proto::Credentials& credentials, const config::Upstream& upstream,
                 const Address& address) {
  credentials.host = config::peer_name(upstream, address);
  credentials.port = address.port;
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
