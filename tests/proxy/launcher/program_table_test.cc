#include "proxy/launcher/program_table.h"

#include <string>
#include <vector>

#include "tests/support/catch.h"

namespace starttls::launcher {
namespace {

using Arguments = std::vector<std::string>;

config::Service service_with_login(LoginWhen when = LoginWhen::client) {
  config::Service service;
  service.name = "office";
  service.login.emplace();
  service.login->when = when;
  service.login->source.command = {"/bin/token", "of", "{user}"};
  return service;
}

config::Account account(std::string name, std::string user = {}, Arguments command = {}) {
  config::Account row;
  row.name = std::move(name);
  row.password.emplace("word");
  row.user = std::move(user);
  row.source.command = std::move(command);
  return row;
}

ProgramTable table_of(config::Service service) {
  config::Config config;
  config.services.push_back(std::move(service));
  return ProgramTable(config);
}

/// Returns the arguments for a login; empty if there is no program for it.
Arguments arguments(const ProgramTable& table, const Account& login) {
  const auto program = table.find(login);
  return program ? program->arguments : Arguments{};
}

TEST_CASE("launcher: a login before the greeting has one user", "[proxy][launcher][security]") {
  auto service = service_with_login(LoginWhen::connect);
  service.login->user = "box";
  const auto table = table_of(service);
  CHECK(arguments(table, {"office", "", "box"}) == Arguments{"/bin/token", "of", "box"});
  CHECK(arguments(table, {"office", "", "other"}).empty());
  CHECK(arguments(table, {"office", "box", "box"}).empty());
  CHECK(arguments(table, {"other", "", "box"}).empty());
}

TEST_CASE("launcher: a row serves its own user only", "[proxy][launcher][security]") {
  auto service = service_with_login();
  service.accounts = {account("scanner", "scan@example.com"),
                      account("fax", "", {"/bin/fax", "{user}"}), account("nothing")};
  service.accounts.back().password.reset();  // the client's own password is passed on
  const auto table = table_of(service);
  CHECK(arguments(table, {"office", "", "scan@example.com"}).size() == 3);
  CHECK(arguments(table, {"office", "fax", "fax"}) == Arguments{"/bin/fax", "fax"});
  for (const auto* user : {"fax", "scanner", "nothing", "root", ""}) {
    CHECK(arguments(table, {"office", "", user}).empty());
  }
  for (const auto* user : {"scan@example.com", "scanner", "root", ""}) {
    CHECK(arguments(table, {"office", "fax", user}).empty());
  }
  CHECK(arguments(table, {"office", "scanner", "scan@example.com"}).empty());
}

TEST_CASE("launcher: the row for any name serves names without a row", "[proxy][launcher]") {
  auto service = service_with_login();
  service.accounts = {account("fax", "", {"/bin/fax"}), account("*")};
  const auto table = table_of(service);
  CHECK(arguments(table, {"office", "", "anna"}) == Arguments{"/bin/token", "of", "anna"});
  CHECK(arguments(table, {"office", "", "fax"}).empty());
}

TEST_CASE("launcher: a name that could be an option is no argument",
          "[proxy][launcher][security]") {
  auto service = service_with_login();
  service.accounts = {account("*")};
  const auto table = table_of(service);
  for (const std::string user : {"-v", "--store=/tmp", "an\nna", "", "an\x01na"}) {
    CHECK(arguments(table, {"office", "", user}).empty());
  }
  CHECK(arguments(table, {"office", "", std::string(256, 'a')}).empty());
}

TEST_CASE("launcher: the user replaces each mark once", "[proxy][launcher][security]") {
  auto service = service_with_login();
  service.login->source.command = {"/bin/{user}", "{user}:{user}", "user", "{{user}}", ""};
  service.accounts = {account("*")};
  CHECK(arguments(table_of(service), {"office", "", "{user}"}) ==
        Arguments{"/bin/{user}", "{user}:{user}", "user", "{{user}}", ""});
  CHECK(arguments(table_of(service), {"office", "", "a b"}) ==
        Arguments{"/bin/a b", "a b:a b", "user", "{a b}", ""});
}

TEST_CASE("launcher: it is needed if a login has a command", "[proxy][launcher]") {
  config::Config config;
  config.services.emplace_back();
  CHECK_FALSE(has_programs(config));
  config.services.front() = service_with_login();
  CHECK(has_programs(config));
  config.services.front().login->source.command.clear();
  CHECK_FALSE(has_programs(config));
  config.services.front().accounts = {account("fax", "", {"/bin/fax"})};
  CHECK(has_programs(config));
}

}  // namespace
}  // namespace starttls::launcher
