#include "lib/session/credentials/accounts.h"

#include <string>

#include "tests/support/catch.h"

using namespace starttls;
using namespace starttls::session;

namespace {

/// No hash is computed here.
constexpr std::string_view kHash = "$6$saltsalt$x";

config::Account account(std::string name, std::optional<std::string> password) {
  config::Account row;
  row.name = std::move(name);
  if (password) row.password = Secret{*password};
  return row;
}

config::SecretSource text_source(std::string_view text) {
  config::SecretSource source;
  source.text = Secret{text};
  return source;
}

/// A service with a secret and accounts.
config::Service service_of(std::vector<config::Account> rows) {
  config::Service service;
  service.login.emplace();
  service.login->user = "shared@example.com";
  service.login->source = text_source("hunter2");
  service.accounts = std::move(rows);
  return service;
}

proto::LoginRequest login_of(std::string name, std::string_view password) {
  proto::LoginRequest request;
  request.name = std::move(name);
  request.password = Secret{password};
  return request;
}

Errc error_of(const Accounts& accounts, const proto::LoginRequest& request) {
  const auto decision = accounts.decide(request);
  REQUIRE_FALSE(decision);
  return decision.error().code;
}

}  // namespace

TEST_CASE("accounts: the right password gets the proxy's secret", "[session][login]") {
  const Accounts accounts{service_of({account("scanner", "pw")})};
  const auto decision = accounts.decide(login_of("scanner", "pw")).value();
  CHECK(decision.right);
  CHECK_FALSE(decision.hash);
  CHECK(decision.credentials.user == "shared@example.com");
  CHECK(decision.credentials.secret == Secret{"hunter2"});
  CHECK_FALSE(decision.credentials.passed_on);
}

TEST_CASE("accounts: a wrong name and a wrong password get no secret",
          "[session][login][security]") {
  const Accounts accounts{service_of({account("scanner", "pw")})};
  for (const auto& request :
       {login_of("scanner", "px"), login_of("scanner", ""), login_of("Scanner", "pw"),
        login_of("other", "pw"), login_of("*", "pw")}) {
    const auto decision = accounts.decide(request).value();
    CHECK_FALSE(decision.right);
    CHECK(decision.credentials.secret.empty());
    CHECK(decision.file.empty());
  }
}

TEST_CASE("accounts: names that cannot be names are refused before all else",
          "[session][login][security]") {
  auto row = account("*", "");
  row.source.file = "/run/secret";
  const Accounts accounts{service_of({row})};
  for (const auto& name : {std::string{}, std::string(256, 'a'), std::string("a\0b", 3),
                           std::string{"a\rb"}, std::string{"a\nb"}}) {
    CHECK(error_of(accounts, login_of(name, "x")) == Errc::client_login);
  }
  CHECK(accounts.decide(login_of(std::string(255, 'a'), "x")).value().right);
}

TEST_CASE("accounts: a password that would end a line is refused", "[session][login][security]") {
  const Accounts accounts{service_of({account("*", std::nullopt)})};
  for (const auto& password : {std::string("a\0b", 3), std::string{"a\r\nDELE 1"},
                               std::string{"a\nb"}, std::string(kMaxSecret + 1, 'a')}) {
    CHECK(error_of(accounts, login_of("x", password)) == Errc::client_login);
  }
}

TEST_CASE("accounts: \"*\" stands for any name that has no row of its own", "[session][login]") {
  auto own = account("scanner", "own");
  own.user = "scan@example.com";
  const Accounts accounts{service_of({account("*", "any"), own})};
  CHECK(accounts.decide(login_of("scanner", "own")).value().credentials.user == "scan@example.com");
  CHECK_FALSE(accounts.decide(login_of("scanner", "any")).value().right);
  CHECK(accounts.decide(login_of("printer", "any")).value().right);
}

TEST_CASE("accounts: a row without a password passes the client's own one on, and never ours",
          "[session][login][security]") {
  const Accounts accounts{service_of({account("ann", std::nullopt), account("scanner", "pw")})};
  const auto decision = accounts.decide(login_of("ann", "her own")).value();
  CHECK(decision.right);
  CHECK(decision.credentials.passed_on);
  CHECK(decision.credentials.secret == Secret{"her own"});
}

TEST_CASE("accounts: without rows and without a secret all passwords are passed on",
          "[session][login]") {
  config::Service service;
  service.login.emplace();
  const Accounts translating{service};
  const auto decision = translating.decide(login_of("ann@example.com", "her own")).value();
  CHECK(decision.credentials.passed_on);
  CHECK(decision.credentials.user == "ann@example.com");
  const Accounts fenced{service_of({})};
  CHECK_FALSE(fenced.decide(login_of("ann", "x")).value().right);
}

TEST_CASE("accounts: an empty password lets any password in", "[session][login]") {
  const Accounts accounts{service_of({account("scanner", "")})};
  CHECK(accounts.decide(login_of("scanner", "whatever")).value().right);
}

TEST_CASE("accounts: if any row has a hash, one is computed for each name",
          "[session][login][security]") {
  const Accounts accounts{service_of(
      {account("hashed", std::string{kHash}), account("plain", "pw"), account("open", "")})};
  const auto hashed = accounts.decide(login_of("hashed", "x")).value();
  CHECK(hashed.hash_decides);
  CHECK(hashed.right);
  for (const auto* const name : {"plain", "unknown", "open"}) {
    INFO(name);
    const auto decision = accounts.decide(login_of(name, "pw")).value();
    CHECK(decision.hash == Secret{kHash});
    CHECK_FALSE(decision.hash_decides);
  }
  CHECK(accounts.decide(login_of("plain", "pw")).value().right);
  CHECK_FALSE(accounts.decide(login_of("plain", "px")).value().right);
}

TEST_CASE("accounts: a row's source replaces that of the service", "[session][login]") {
  auto row = account("scanner", "pw");
  row.source.file = "/run/token";
  row.token = true;
  const Accounts accounts{service_of({row})};
  const auto decision = accounts.decide(login_of("scanner", "pw")).value();
  CHECK(decision.file == "/run/token");
  CHECK(decision.credentials.token);
  CHECK(decision.credentials.secret.empty());
}

TEST_CASE("accounts: a login before the greeting needs no client", "[session][login]") {
  auto service = service_of({});
  service.login->when = LoginWhen::connect;
  service.login->mechanism = Mechanism::login;
  const auto decision = Accounts{service}.decide({}).value();
  CHECK(decision.right);
  CHECK(decision.credentials.user == "shared@example.com");
  CHECK(decision.credentials.secret == Secret{"hunter2"});
  CHECK(decision.credentials.mechanism == Mechanism::login);
}

TEST_CASE("accounts: a secret that is missing or harmful is no secret",
          "[session][login][security]") {
  auto service = service_of({account("scanner", "pw")});
  service.login->source = {};
  CHECK(error_of(Accounts{service}, login_of("scanner", "pw")) == Errc::login);
  service.login->source = text_source("a\r\nRSET");
  CHECK(error_of(Accounts{service}, login_of("scanner", "pw")) == Errc::login);
}

TEST_CASE("accounts: a source that is asked gets the account at the server", "[session][login]") {
  auto service = service_of({account("scanner", "pw"), account("*", "pw")});
  service.name = "office";
  auto& login = *service.login;
  login.source = {.token = true, .socket = "/run/s"};
  login.lifetime = std::chrono::minutes{7};
  service.accounts[1].source = {.command = {"/bin/p"}};
  service.accounts[1].user = "row@example.com";
  const auto of = [&](const std::string& name) {
    return Accounts{service}.decide(login_of(name, "pw")).value();
  };
  const auto first = of("scanner");
  CHECK(first.file.empty());
  CHECK(first.credentials.token);
  CHECK(first.credentials.secret.empty());
  CHECK(first.request.service == "office");
  CHECK(first.request.account.empty());
  CHECK(first.request.user == "shared@example.com");
  CHECK(first.request.user_is_fixed);
  CHECK(first.request.source == login.source);
  CHECK(first.request.lifetime == login.lifetime);
  CHECK(first.request.timeout == login.timeout);
  const auto other = of("any");
  CHECK(other.request.account == "*");
  CHECK(other.request.user == "row@example.com");
  CHECK(other.credentials.token);
  CHECK(other.request.source.token);
  service.accounts[1].token = false;
  CHECK_FALSE(of("any").credentials.token);
  CHECK_FALSE(of("any").request.source.token);

  login.user.clear();
  CHECK(of("scanner").request.user == "scanner");
  CHECK(of("scanner").request.user_is_fixed);  // by the name of its row
  service.accounts[1].user.clear();
  CHECK(of("any").request.user == "any");
  CHECK_FALSE(of("any").request.user_is_fixed);
  login.when = LoginWhen::connect;
  login.user = "scan@example.com";
  CHECK(of("").request.user == "scan@example.com");
  CHECK(of("").request.account.empty());
}
