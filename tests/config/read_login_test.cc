#include "lib/config/read_login.h"

#include <cstdlib>
#include <string>

#include "lib/config/load.h"
#include "lib/config/password_hash.h"
#include "tests/support/catch.h"
#include "tests/support/loading.h"
#include "tests/support/temporary_folder.h"

using namespace starttls;
using namespace std::chrono_literals;
using config::Config;

namespace {

/// Returns a correct service of five lines. `more` is on lines 6 and on.
std::string service_and(const std::string& more) {
  return "[[service]]\nname = 'office'\nprotocol = 'smtp'\nlisten = '127.0.0.1:2525'\n"
         "upstream.address = 'smtp.example.com:587'\n" +
         more;
}

config::Service loaded_service(const std::string& more) {
  Config config;
  REQUIRE(lines(load_text(service_and(more), "/etc/x/f.toml", kProtocols, config)) == Lines{});
  return config.services.at(0);
}

Lines login_problems(const std::string& more) {
  Config config;
  return lines(load_text(service_and(more), "f.toml", kProtocols, config));
}

constexpr auto kHash =
    "$6$abcdefgh$D7W7qyozKBT.t6FD3DVYHvADbIO0eSyI4.p20LaEUjro8PqTGYYo/EQcuNjhFbzo9Yg5ir1KIEqFY/"
    "yJpgFph0";

}  // namespace

TEST_CASE("login: every key sets its own value", "[config]") {
  const auto service = loaded_service(R"([service.login]
when = "client"
mechanism = "oauthbearer"
user = "all@example.com"
file = "run/token"
token = true
timeout = "3s"
[[service.account]]
name = "scanner"
password = "pw"
user = "scan@example.com"
[[service.account]]
name = "erp"
password = ")" + std::string(kHash) +
                                      R"("
file = "erp.token"
token = true
[[service.account]]
name = "*"
password = "x"
file = "other.token"
)");
  config::Login login;
  login.when = LoginWhen::client;
  login.mechanism = Mechanism::oauthbearer;
  login.user = "all@example.com";
  login.source = {std::nullopt, "/etc/x/run/token", true};
  login.timeout = 3s;
  CHECK(service.login == login);
  REQUIRE(service.accounts.size() == 3);
  CHECK(service.accounts[0] == config::Account{"scanner", Secret("pw"), "scan@example.com", {}});
  CHECK(service.accounts[1] ==
        config::Account{"erp", Secret(kHash), "", {.file = "/etc/x/erp.token"}, true});
  CHECK(service.accounts[2] ==
        config::Account{"*", Secret("x"), "", {.file = "/etc/x/other.token"}, std::nullopt});

  CHECK(source_of(login, service.accounts[0]) == login.source);
  CHECK(source_of(login, service.accounts[1]).file == "/etc/x/erp.token");
  CHECK(user_of(login, service.accounts[0]) == "scan@example.com");
  CHECK(user_of(login, service.accounts[1]) == "all@example.com");
  CHECK(uses_proxy_secret(login, service.accounts[0]));
  CHECK_FALSE(uses_proxy_secret(login, {"x", std::nullopt, "", {}}));
  CHECK_FALSE(config::uses_proxy_secret({}, {"x", Secret("pw"), "", {}}));
}

TEST_CASE("login: a row's keys override those of the service one by one", "[config]") {
  const auto service = loaded_service(R"([service.login]
file = "/run/token"
token = true
[[service.account]]
name = "own file"
password = "x"
file = "/run/other"
[[service.account]]
name = "own socket"
password = "x"
socket = "/run/socket"
[[service.account]]
name = "own program"
password = "x"
command = ["/bin/p"]
[[service.account]]
name = "own password"
password = "x"
secret = "hunter2"
[[service.account]]
name = "own word"
password = "x"
token = false
[[service.account]]
name = "both"
password = "x"
file = "/run/other"
token = false
)");
  const auto source = [&service](std::size_t row) {
    return source_of(*service.login, service.accounts.at(row));
  };
  using Source = config::SecretSource;
  CHECK(source(0) == Source{.file = "/run/other", .token = true});
  CHECK(source(1) == Source{.token = true, .socket = "/run/socket"});
  CHECK(source(2) == Source{.token = true, .command = {"/bin/p"}});
  CHECK(source(3) == Source{.text = Secret("hunter2")});  // what is written here is a password
  CHECK(source(4) == Source{.file = "/run/token"});
  CHECK(source(5) == Source{.file = "/run/other"});
  const auto other = loaded_service(
      "login.file = '/run/t'\n[[service.account]]\nname = 'x'\npassword = 'y'\n"
      "token = true\n");
  CHECK(source_of(*other.login, other.accounts.at(0)) == Source{.file = "/run/t", .token = true});
}

TEST_CASE("login: a socket, a command and a lifetime are read", "[config]") {
  auto service = loaded_service(
      "[service.login]\nsocket = 'run/tokens'\nlifetime = '2m'\n"
      "[[service.account]]\nname = 'x'\npassword = 'y'\n"
      "command = ['/bin/p', 'access', '{user}', '']\n"
      "[[service.account]]\nname = 'z'\npassword = 'y'\n");
  CHECK(service.login->source.socket == "/etc/x/run/tokens");
  CHECK(service.login->lifetime == 2min);
  CHECK(service.accounts.at(0).source.command ==
        std::vector<std::string>{"/bin/p", "access", "{user}", ""});
  service = loaded_service("[service.login]\nsocket = ''\ncommand = []\n");
  CHECK_FALSE(service.login->source.is_set());
  CHECK(service.login->lifetime == 30min);
}

TEST_CASE("login: a command begins with the path of a program", "[config][security]") {
  const auto at = [](const std::string& column, const std::string& text) {
    return Lines{"f.toml:6:" + column + ": service.login.command: " + text};
  };
  const auto found = [](const std::string& value) {
    return login_problems("login.command = " + value + "\n");
  };
  const std::string start =
      "must begin with the path of a program, such as /usr/bin/program or ./program, not ";
  CHECK(found("['p']") == at("18", start + "'p'"));
  CHECK(found("['p.sh']") == at("18", start + "'p.sh'"));
  CHECK(found("['']") == at("18", start + "''"));
  CHECK(found("['/bin/']") == at("18", start + "'/bin/'"));
  CHECK(found("['bin/']") == at("18", start + "'bin/'"));
  CHECK(found("['bin/{user}']") ==
        at("18", "'{user}' may be in an argument, not in the program's path"));
  CHECK(found("['/bin/{user}']") ==
        at("18", "'{user}' may be in an argument, not in the program's path"));
  CHECK(found("'/bin/p'") ==
        at("17", "must be a list such as [\"/usr/bin/program\", \"argument\"], not a string"));
  CHECK(found("['/bin/p', 1]") == at("28", "must be a string, not a number"));
  CHECK(found("['/bin/p', \"a\\nb\"]").size() == 1);
  CHECK(found("['/bin/p', '" + std::string(4097, 'x') + "']") ==
        at("28", "has a part of more than 4096 bytes"));
  std::string many = "['/bin/p'";
  for (int i = 0; i < 64; ++i) many += ", 'x'";
  CHECK(found(many + "]") == at("17", "has more than 64 parts"));
}

TEST_CASE("login: a relative path of a program is relative to the configuration's folder",
          "[config]") {
  const auto command = [](const std::string& value) {
    return loaded_service("login.when = 'connect'\nlogin.user = 'u'\nlogin.command = " + value)
        .login->source.command;
  };
  using Command = std::vector<std::string>;
  CHECK(command("['./p.sh', './x']") == Command{"/etc/x/p.sh", "./x"});
  CHECK(command("['bin/p.sh']") == Command{"/etc/x/bin/p.sh"});
  CHECK(command("['../p.sh']") == Command{"/etc/p.sh"});
  CHECK(command("['/usr/bin/p']") == Command{"/usr/bin/p"});
}

TEST_CASE("login: a socket has a path that the system can use", "[config]") {
  const auto socket = [](const std::string& value) {
    return loaded_service("login.when = 'connect'\nlogin.user = 'u'\nlogin.socket = " + value)
        .login->source.socket;
  };
  CHECK(socket("'/run/x'") == "/run/x");
  CHECK(socket("'unix:/run/x'") == "/run/x");
  CHECK(socket("'unix:run/x'") == "/etc/x/run/x");
  CHECK(socket("'/run/unix:x'") == "/run/unix:x");
  CHECK(socket("'unix:/" + std::string(106, 'x') + "'").size() == 107);
  CHECK(login_problems("login.socket = 'unix:'\n") ==
        Lines{"f.toml:6:16: service.login.socket: has no path after 'unix:'"});
  CHECK(login_problems("login.socket = '/" + std::string(107, 'x') + "'\n") ==
        Lines{"f.toml:6:16: service.login.socket: is longer than 107 bytes, as an absolute path: "
              "no socket can have it"});
}

TEST_CASE("login: the proxy logs in before the client, with a secret from outside", "[config]") {
  REQUIRE(setenv("STARTTLS_TEST_SECRET", "s3cret \"\\", 1) == 0);
  const auto service = loaded_service(R"([service.login]
when = "connect"
mechanism = "login"
user = "scan@example.com"
secret = "${STARTTLS_TEST_SECRET}"
)");
  REQUIRE(service.login);
  CHECK(service.login->when == LoginWhen::connect);
  CHECK(service.login->mechanism == Mechanism::login);
  CHECK(service.login->source.text == Secret("s3cret \"\\"));
  CHECK(service.accounts.empty());
}

TEST_CASE("login: an empty section is a login that only translates", "[config]") {
  CHECK(loaded_service("[service.login]\n").login == config::Login{});
  CHECK(loaded_service("login = {}\n").login == config::Login{});
  CHECK_FALSE(loaded_service("").login);
  CHECK_FALSE(loaded_service("account = []\n").login);
  // Each service has a login of its own.
  Config config;
  REQUIRE(lines(load_text(service_and("[service.login]\n[[service]]\nname = 'b'\n"
                                      "protocol = 'smtp'\nlisten = '127.0.0.1:2526'\n"
                                      "upstream.address = 'b.example.com:587'\n"),
                          "f.toml", kProtocols, config)) == Lines{});
  CHECK(config.services.at(0).login);
  CHECK_FALSE(config.services.at(1).login);
}

TEST_CASE("login: a value of the wrong kind is refused, without showing it", "[config]") {
  CHECK(login_problems("login = 1") ==
        Lines{"f.toml:6:9: service.login: must be a table, not a number"});
  CHECK(login_problems("account = 'x'") ==
        Lines{"f.toml:6:11: service.account: must be an array of tables: write "
              "[[service.account]], not a string"});
  CHECK(login_problems("account = ['x']") ==
        Lines{"f.toml:6:12: service.account: must be a table, not a string"});
  CHECK(login_problems("login.when = 'always'") ==
        Lines{"f.toml:6:14: service.login.when: must be one of client, connect, not 'always'"});
  CHECK(login_problems("login.mechanism = 'cram-md5'") ==
        Lines{"f.toml:6:19: service.login.mechanism: must be one of auto, plain, login, xoauth2, "
              "oauthbearer, not 'cram-md5'"});
  CHECK(login_problems("login.secrets = 'hunter2'") ==
        Lines{"f.toml:6:7: unknown key 'service.login.secrets': did you mean "
              "'service.login.secret'?"});
  CHECK(login_problems("login.secret = 1234") ==
        Lines{"f.toml:6:16: service.login.secret: must be a string, not a number"});
  CHECK(login_problems("login.socket = 'x'").size() == 1);
  CHECK(login_problems("[[service.account]]\npassword = 'hunter2'") ==
        Lines{"f.toml:6:1: service.account.name: is required"});
  CHECK(login_problems("[[service.account]]\nname = ''") ==
        Lines{"f.toml:7:8: service.account.name: must not be empty; \"*\" is any name that has no "
              "row of its own"});
}

TEST_CASE("login: names of at most 255 bytes", "[config]") {
  CHECK(loaded_service("login.user = '" + std::string(255, 'u') + "'").login->user.size() == 255);
  CHECK(login_problems("login.user = '" + std::string(256, 'u') + "'") ==
        Lines{"f.toml:6:14: service.login.user: is longer than 255 bytes"});
  CHECK(login_problems("[service.login]\n[[service.account]]\nname = '" + std::string(256, 'n') +
                       "'") == Lines{"f.toml:8:8: service.account.name: is longer than 255 bytes"});
  CHECK(login_problems("login.user = \"a\\nb\"") ==
        Lines{"f.toml:6:14: service.login.user: contains a control character: 'a\\nb'"});
}

TEST_CASE("login: a secret is one line of at most 9000 bytes, and is never shown",
          "[config][security]") {
  TemporaryFolder folder;
  folder.write("dos.pw", "hunter2\r\n");
  folder.write("two.pw", "hunter2\nhunter3\n");
  folder.write("empty.pw", "\n");
  folder.write("long.pw", std::string(9001, 'h'));
  folder.write("whole.pw", std::string(9000, 'h') + "\n");
  const auto problems = [&folder](const std::string& key, const std::string& value) {
    Config config;
    const bool account = key == "password";
    auto all = lines(load_text(
        service_and(account
                        ? "login.file = 'x'\n[[service.account]]\nname = 'a'\npassword = " + value
                        : "login.when = 'connect'\nlogin.user = 'u'\nlogin.secret = " + value),
        folder.file("f.toml"), kProtocols, config));
    for (auto& each : all) each.erase(0, each.find(": ", each.find("f.toml")) + 2);
    return all;
  };
  for (const std::string key : {"secret", "password"}) {
    const std::string path = (key == "secret" ? "service.login." : "service.account.") + key + ": ";
    CAPTURE(key);
    CHECK(problems(key, "'" + std::string(9000, 'h') + "'") == Lines{});
    CHECK(problems(key, "'${file:whole.pw}'") == Lines{});
    CHECK(problems(key, "'" + std::string(9001, 'h') + "'") ==
          Lines{path + "is longer than 9000 bytes"});
    CHECK(problems(key, "'${file:long.pw}'") ==
          Lines{path + "'${file:long.pw}': is longer than 9000 bytes"});
    const std::string line_break = "contains a line break or NUL: a secret is one line";
    for (const std::string escape : {"\\n", "\\r", "\\u0000"}) {
      CHECK(problems(key, "\"hun" + escape + "ter2\"") == Lines{path + line_break});
    }
    CHECK(problems(key, "'${file:dos.pw}'") == Lines{path + "'${file:dos.pw}': " + line_break});
    CHECK(problems(key, "'${file:two.pw}'") == Lines{path + "'${file:two.pw}': " + line_break});
    CHECK(problems(key, "'${file:none.pw}'") ==
          Lines{path + "'none.pw': No such file or directory"});
  }
  CHECK(problems("secret", "'${file:empty.pw}'") ==
        Lines{"service.login.secret: '${file:empty.pw}': is empty"});
  // An empty file must not mean that any password will do.
  CHECK(problems("password", "'${file:empty.pw}'") ==
        Lines{"service.account.password: '${file:empty.pw}': is empty: if any password will do, "
              "write password = \"\""});
}

TEST_CASE("login: a password in the form of a hash is one that crypt(3) knows",
          "[config][security]") {
  constexpr const char* kGood[] = {
      "$1$abcdefgh$znAnv9M.XU2pRYfmSs46h/",
      "$2a$05$abcdefghijklmnopqrstuuhKF09ZYWwH2zP/0fwE1X8e/Q1YNx/hO",
      "$2b$05$abcdefghijklmnopqrstuuhKF09ZYWwH2zP/0fwE1X8e/Q1YNx/hO",
      "$2y$05$abcdefghijklmnopqrstuuhKF09ZYWwH2zP/0fwE1X8e/Q1YNx/hO",
      "$5$abcdefgh$sI6g8tHKrJ6RX7w.YoN9B7a/5wK5jYEOMmMnt3tPl0/",
      "$5$rounds=5000$abcdefgh$sI6g8tHKrJ6RX7w.YoN9B7a/5wK5jYEOMmMnt3tPl0/",
      kHash,
      "$7$CU..../....2Q9obwLhin8qvQl6sisAO/$.bP7HtD2HP.OKbRurZTdgkP/04.gFdcR2KR0sT1oqh9",
      "$y$j9T$F5Jx5fExrKuPp53xLKQ..1$6foLM1JhGupouWKMU70wxK61Kw9ZnecbACjJwRadqM2",
      "$gy$j9T$F5Jx5fExrKuPp53xLKQ..1$swDwqc9roxMj9t43.TdN6v6uEgFlLv6oDhMVx4g6bhA"};
  for (const std::string hash : kGood) {
    CAPTURE(hash);
    CHECK(config::is_password_hash(hash));
    CHECK_FALSE(config::is_password_hash(hash.substr(0, hash.size() - 1)));
    CHECK_FALSE(config::is_password_hash(hash + "x"));
    CHECK_FALSE(config::is_password_hash(hash + "\n"));
    CHECK_FALSE(config::is_password_hash(" " + hash));
  }
  for (const std::string text : {"$$", "$6$", "$6$salt", "$6$salt$", "$md5$a$b", "$3$$8846f7eaee8",
                                 "$argon2id$v=19$m=1,t=1,p=1$c2FsdA$aGFzaA", "$9$x$y", "$9$"}) {
    CAPTURE(text);
    CHECK_FALSE(config::is_password_hash(text));
    CHECK(
        login_problems("login.file = 'x'\n[[service.account]]\nname = 'a'\npassword = '" + text +
                       "'") ==
        Lines{"f.toml:9:12: service.account.password: has the form of a hash, '$ID$...', but is "
              "not a whole one of a kind that is known ($1$, $2a$, $2b$, $2y$, $5$, $6$, $7$, $y$, "
              "$gy$): `openssl passwd -6` prints one"});
  }
  // A plain text may begin with '$'.
  for (const std::string text : {"$", "$ecret", "$6", "a$6$b", "$ e c r e t"}) {
    CAPTURE(text);
    CHECK_FALSE(config::has_form_of_hash(text));
    const auto service = loaded_service(
        "login.file = 'x'\n[[service.account]]\nname = 'a'\npassword = '" + text + "'");
    CHECK(service.accounts.at(0).password == Secret(text));
  }
}
