#include "lib/session/credentials/login_facts.h"

#include <optional>
#include <string>
#include <vector>

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
  config::Upstream upstream;
  const auto dotted = server_at("mail.example.com.", 587);
  const auto first = for_server(proto::Credentials{}, {upstream, dotted, true}).value();
  CHECK(first.host == "mail.example.com");
  CHECK(first.port == 587);
  upstream.server_name = "other.example.com";
  const auto numeric = server_at("192.0.2.1", 465);
  const auto second = for_server(proto::Credentials{}, {upstream, numeric, true}).value();
  CHECK(second.host == "other.example.com");
  CHECK(second.port == 465);
}

TEST_CASE("login facts: a secret of the proxy goes to no server in the clear",
          "[session][login][security]") {
  const config::Upstream upstream;
  const auto address = server_at("mail.example.com", 25);
  CHECK(for_server(proto::Credentials{}, {upstream, address, false}).error().code == Errc::login);
  proto::Credentials clients_own;
  clients_own.passed_on = true;
  CHECK(for_server(clients_own, {upstream, address, false}));
  const auto failed = for_server(fail(Errc::client_login, "no"), {upstream, address, true});
  CHECK(failed.error().code == Errc::client_login);
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

TEST_CASE("login facts: the accounts with tokens are those that the configuration names",
          "[session][login]") {
  using Users = std::vector<std::string>;
  config::Service service;
  CHECK(fixed_token_users(service) == Users{});
  auto& login = service.login.emplace();
  login.user = "all@example.com";
  login.source = {.token = true, .socket = "/run/s"};
  CHECK(fixed_token_users(service) == Users{});  // no client can use it
  service.accounts = {{"a", Secret{"pw"}, "", {}},
                      {"b", Secret{"pw"}, "b@example.com", {}},
                      {"c", Secret{"pw"}, "b@example.com", {}},
                      {"d", std::nullopt, "d@example.com", {}},
                      {"e", Secret{"pw"}, "e@example.com", {.file = "/etc/pw"}, false},
                      {"f", Secret{"pw"}, "f@example.com", {.file = "/etc/t"}, true}};
  CHECK(fixed_token_users(service) == Users{"all@example.com", "b@example.com", "f@example.com"});
  // A row's own name is the account at the server if there is no other; "*" is no name.
  login.user.clear();
  service.accounts.push_back({"*", Secret{"pw"}, "", {}});
  CHECK(fixed_token_users(service) == Users{"a", "b@example.com", "f@example.com"});
  service.accounts.back().user = "any@example.com";
  CHECK(fixed_token_users(service).back() == "any@example.com");
  service.accounts.clear();
  login.when = LoginWhen::connect;
  login.user = "scan@example.com";
  CHECK(fixed_token_users(service) == Users{"scan@example.com"});
  login.source.token = false;
  CHECK(fixed_token_users(service) == Users{});
}
