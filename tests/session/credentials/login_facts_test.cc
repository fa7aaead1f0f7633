#include "lib/session/credentials/login_facts.h"

#include <string>

#include "tests/support/catch.h"

using namespace starttls;
using namespace starttls::session;
using metrics::LoginOutcome;
using metrics::LoginSide;

namespace {

std::uint64_t counted(metrics::Tally& tally, LoginSide side, Mechanism mechanism,
                      LoginOutcome outcome) {
  auto tables = metrics::Tables{};
  const auto& cells = tally.tables().logins.cells();
  const auto* const first = &tables.logins.cells().front();
  return cells[static_cast<std::size_t>(&tables.logins.at(side, mechanism, outcome) - first)]
      .value();
}

proto::LoginReport report_of(Mechanism client, Mechanism server,
                             std::optional<Errc> failure = std::nullopt) {
  proto::LoginReport report;
  report.client = client;
  report.server = server;
  if (failure) report.failure = Error{*failure, "wrong"};
  return report;
}

Address server_at(std::string host, std::uint16_t port) {
  Address address;
  address.host = std::move(host);
  address.port = port;
  return address;
}

}  // namespace

TEST_CASE("login facts: the server's name is the configured one", "[session][login]") {
  proto::Credentials credentials;
  config::Upstream upstream;
  name_server(credentials, upstream, server_at("mail.example.com.", 587));
  CHECK(credentials.host == "mail.example.com");
  CHECK(credentials.port == 587);
  upstream.server_name = "other.example.com";
  name_server(credentials, upstream, server_at("192.0.2.1", 465));
  CHECK(credentials.host == "other.example.com");
  CHECK(credentials.port == 465);
}

TEST_CASE("login facts: a login counts for each side that took part", "[session][login]") {
  metrics::Tally tally;
  count_login(tally, report_of(Mechanism::plain, Mechanism::xoauth2));
  count_login(tally, report_of(Mechanism::login, Mechanism::automatic, Errc::client_login));
  count_login(tally, report_of(Mechanism::automatic, Mechanism::login, Errc::login));
  CHECK(counted(tally, LoginSide::client, Mechanism::plain, LoginOutcome::ok) == 1);
  CHECK(counted(tally, LoginSide::server, Mechanism::xoauth2, LoginOutcome::ok) == 1);
  CHECK(counted(tally, LoginSide::client, Mechanism::login, LoginOutcome::client_login) == 1);
  CHECK(counted(tally, LoginSide::server, Mechanism::login, LoginOutcome::login) == 1);
  std::uint64_t all = 0;
  for (const auto& cell : tally.tables().logins.cells()) all += cell.value();
  CHECK(all == 4);
}
