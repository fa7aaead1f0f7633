#include "proxy/probe/login_choice.h"

#include <string>
#include <vector>

#include "tests/support/catch.h"

using namespace starttls;
using Catch::Matchers::ContainsSubstring;

namespace {

config::SecretSource password_source(std::string_view text) {
  return {.text = Secret(text), .file = {}, .token = false};
}

/// A service that logs in, without accounts.
config::Service with_login(config::Login login) {
  config::Service service;
  service.name = "office";
  service.upstream.tls = TlsMode::starttls;
  service.login = std::move(login);
  return service;
}

/// A service with three accounts: with its own token, with the service's secret, and one that
/// passes on the client's password.
config::Service with_accounts() {
  auto service = with_login({.user = "office@example.com", .source = password_source("s")});
  service.accounts = {
      {.name = "scanner",
       .password = Secret("p"),
       .user = "scan@example.com",
       .source = {.file = "/t"},
       .token = true},
      {.name = "erp", .password = Secret("q"), .user = {}, .source = {}},
      {.name = "reader", .password = {}, .user = "reader@example.com", .source = {}}};
  return service;
}

LoginOptions asked(std::string account, std::string file = {}) {
  return {.wanted = true, .account = std::move(account), .file = std::move(file)};
}

std::string refusal(const config::Service& service, const LoginOptions& options) {
  const auto choice = choose_login(service, options);
  REQUIRE_FALSE(choice);
  CHECK(choice.error().code == Errc::config);
  return choice.error().reason;
}

}  // namespace

TEST_CASE("login choice: an account is found by its name at the proxy", "[probe][login]") {
  const auto choice = choose_login(with_accounts(), asked("scanner"));
  REQUIRE(choice);
  CHECK(choice->account == "scanner");
  CHECK(choice->user == "scan@example.com");
  CHECK(choice->source.file == "/t");
  CHECK(choice->token);
  const auto other = choose_login(with_accounts(), asked("erp"));
  REQUIRE(other);
  CHECK(other->user == "office@example.com");
  CHECK(other->source.text == Secret("s"));
  CHECK_FALSE(other->token);
}

TEST_CASE("login choice: an account is found by its name at the server", "[probe][login]") {
  CHECK(choose_login(with_accounts(), asked("scan@example.com"))->account == "scanner");
  const auto own = choose_login(with_accounts(), asked("office@example.com"));
  REQUIRE(own);
  CHECK(own->account.empty());
  CHECK(own->source.text == Secret("s"));
}

TEST_CASE("login choice: without a name it is the service's own account", "[probe][login]") {
  const auto own = choose_login(with_accounts(), asked(""));
  REQUIRE(own);
  CHECK(own->user == "office@example.com");
  auto one = with_login({.user = {}, .source = password_source("s")});
  one.accounts = {{.name = "scanner", .password = Secret("p"), .user = {}, .source = {}}};
  CHECK(choose_login(one, asked(""))->user == "scanner");
  one.accounts.front().name = "*";
  CHECK(refusal(one, asked("")) == "probe --login: give the name of an account; there are: *");
  CHECK(choose_login(one, asked("any"))->user == "any");
}

TEST_CASE("login choice: a name that no row is for is an error", "[probe][login]") {
  CHECK(refusal(with_accounts(), asked("nobody")) ==
        "probe --login: there is no account 'nobody'; there are: office@example.com, scanner, erp, "
        "reader");
}

TEST_CASE("login choice: a client's own password has to be given", "[probe][login]") {
  CHECK_THAT(refusal(with_accounts(), asked("reader")),
             ContainsSubstring("no secret for 'reader@example.com'") &&
                 ContainsSubstring("--login-file FILE"));
  const auto given = choose_login(with_accounts(), asked("reader", "-"));
  REQUIRE(given);
  CHECK_FALSE(given->source.is_set());
  const auto passing = with_login({});
  CHECK(choose_login(passing, asked("anybody", "f"))->user == "anybody");
  CHECK_THAT(refusal(passing, asked("anybody")), ContainsSubstring("--login-file"));
}

TEST_CASE("login choice: a file of the command line goes before the settings", "[probe][login]") {
  const auto choice = choose_login(with_accounts(), asked("scanner", "other"));
  REQUIRE(choice);
  CHECK_FALSE(choice->source.is_set());
  CHECK(choice->token);
}

TEST_CASE("login choice: a service without a login needs name and file", "[probe][login]") {
  config::Service service;
  service.upstream.tls = TlsMode::implicit;
  auto options = asked("box", "-");
  options.token = true;
  const auto choice = choose_login(service, options);
  REQUIRE(choice);
  CHECK(choice->user == "box");
  CHECK(choice->token);
  CHECK(choice->mechanism == Mechanism::automatic);
  CHECK_THAT(refusal(service, asked("", "-")), ContainsSubstring("name of the account"));
}

TEST_CASE("login choice: only a server that proves its identity may hear a secret",
          "[probe][login][security]") {
  auto service = with_accounts();
  for (const auto mode : {TlsMode::none, TlsMode::opportunistic}) {
    service.upstream.tls = mode;
    CHECK_THAT(refusal(service, asked("scanner")), ContainsSubstring("only a verified server"));
  }
  service.upstream.tls = TlsMode::starttls;
  service.upstream.verify = Verification::none;
  CHECK_THAT(refusal(service, asked("scanner")), ContainsSubstring("only a verified server"));
  // Not even the client's own password, which a session would pass on.
  CHECK_THAT(refusal(service, asked("reader", "-")), ContainsSubstring("only a verified server"));
  service.upstream.pins.emplace_back();
  CHECK(choose_login(service, asked("scanner")));
}

TEST_CASE("login choice: a service is found by its name", "[probe]") {
  std::vector<config::Service> services(1);
  services[0].name = "a";
  CHECK(*find_service(services, "") == 0);
  CHECK(*find_service(services, "a") == 0);
  services.emplace_back().name = "b";
  CHECK(*find_service(services, "b") == 1);
  CHECK(find_service(services, "").error().reason ==
        "probe --service: give the name of a service; there are: a, b");
  CHECK(find_service(services, "c").error().reason ==
        "probe --service: there is no 'c'; there are: a, b");
}
