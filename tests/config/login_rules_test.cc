#include "lib/config/login_rules.h"

#include <string>
#include <string_view>

#include "lib/config/describe.h"
#include "lib/config/exposure.h"
#include "lib/config/load.h"
#include "tests/support/catch.h"
#include "tests/support/loading.h"
#include "tests/support/temporary_folder.h"

using namespace starttls;
using config::Config;

namespace {

constexpr std::string_view kMailProtocols[] = {"smtp", "lmtp", "imap", "pop3", "sieve", "nntp"};

/// A service of five lines; more is on lines 6 and on.
struct LoginFile {
  std::string protocol = "smtp";
  std::string listen = "'127.0.0.1:2525'";
  std::string upstream = "upstream.address = 'mx.example.com:587'";
  TemporaryFolder folder = {};

  [[nodiscard]] std::string with(const std::string& more) const {
    return "[[service]]\nname = 'office'\nprotocol = '" + protocol + "'\nlisten = " + listen +
           "\n" + upstream + "\n" + more;
  }
  /// Returns the problems without the file's name: "6:14: service.login.user: ...".
  [[nodiscard]] Lines problems(const std::string& more) const {
    const auto path = folder.file("f.toml");
    Config config;
    auto all = lines(load_text(with(more), path, kMailProtocols, config));
    for (auto& each : all) each.erase(0, path.size() + 1);
    return all;
  }
  [[nodiscard]] config::Service service(const std::string& more) const {
    Config config;
    REQUIRE(lines(load_text(with(more), folder.file("f.toml"), kMailProtocols, config)) == Lines{});
    return config.services.at(0);
  }
};

const std::string kSecret = "login.secret = 'hunter2'\n";
const std::string kConnect = "login = { when = 'connect', user = 'u', secret = 'hunter2' }\n";

std::string row(const std::string& members) {
  return "[[service.account]]\n" + members + "\n";
}
const std::string kRow = row("name = 'a'\npassword = 'pw'");
const std::string kOpenRow = row("name = '*'\npassword = ''");

}  // namespace

TEST_CASE("login: a secret has one source", "[config][login]") {
  const LoginFile file;
  CHECK(file.problems("login.secret = 'hunter2'\nlogin.file = 'pw'\n" + kRow) ==
        Lines{"7:14: service.login.file: cannot be used with secret: a secret has one source"});
  CHECK(file.problems("[service.login]\n" + row("name = 'a'\npassword = 'x'\nsecret = 'hunter2'\n"
                                                "file = 'pw'")) ==
        Lines{"11:8: service.account.file: cannot be used with secret: a secret has one source"});
  CHECK(file.problems(kSecret + kRow) == Lines{});
  CHECK(file.problems("login.file = 'pw'\n" + kRow) == Lines{});
  // A row replaces the service's source by another kind of source.
  CHECK(file.problems(kSecret + kRow + row("name = 'b'\npassword = 'x'\nfile = 'pw'")) == Lines{});
}

TEST_CASE("login: a socket and a program are sources like a file", "[config][login]") {
  const LoginFile file;
  const std::string one = ": a secret has one source";
  CHECK(file.problems(kSecret + "login.socket = '/run/s'\nlogin.command = ['/bin/p']\n" + kRow) ==
        Lines{"7:16: service.login.socket: cannot be used with secret" + one,
              "8:17: service.login.command: cannot be used with secret" + one});
  CHECK(file.problems("[service.login]\n" + row("name = 'a'\npassword = 'x'\nsocket = 's'\n"
                                                "command = ['/bin/p']")) ==
        Lines{"11:11: service.account.command: cannot be used with socket" + one});
  for (const std::string source : {"socket = '/run/s'\n", "command = ['/bin/p']\n"}) {
    CAPTURE(source);
    const auto key = source.substr(0, source.find(' '));
    CHECK(file.problems("login." + source + "login.token = true\n" + kRow) == Lines{});
    CHECK(file.problems("login." + source)
              .at(0)
              .find("service.login." + key + ": needs rows of [[service.account]]") !=
          std::string::npos);
    CHECK(file.problems("[service.login]\n" + row("name = 'a'\n" + source))
              .at(0)
              .find("service.account." + key + ": needs a password in this row") !=
          std::string::npos);
    CHECK(file.problems("login.when = 'connect'\nlogin.user = 'u'\nlogin." + source) == Lines{});
  }
}

TEST_CASE("login: a token comes from a file", "[config][login]") {
  const LoginFile file;
  const std::string no_file =
      "has no effect without file, socket or command: a secret that is written here is a "
      "password";
  CHECK(file.problems("login.token = true\n" + kSecret + kRow) ==
        Lines{"6:15: service.login.token: " + no_file});
  CHECK(file.problems("login.token = true\n") == Lines{"6:15: service.login.token: " + no_file});
  CHECK(file.problems(kSecret + row("name = 'b'\npassword = 'x'\ntoken = true") + kRow) ==
        Lines{"10:9: service.account.token: " + no_file});
  CHECK(file.problems("login.token = true\nlogin.file = 'x'\n" + kRow) == Lines{});
  // A password in a row is none of the service's tokens.
  CHECK(file.problems("login.token = true\nlogin.file = 'x'\n" + kRow +
                      row("name = 'b'\npassword = 'x'\nsecret = 'hunter2'")) == Lines{});
}

TEST_CASE("login: the service's token is for the rows that have no word of their own",
          "[config][login]") {
  const LoginFile file;
  const std::string no_effect =
      "has no effect without file, socket or command: a secret that is written here is a password";
  const Lines unused{"6:15: service.login.token: " + no_effect};
  const std::string token = "login.token = true\n";
  for (const std::string source : {"file = 'y'", "socket = 'y'", "command = ['/bin/p']"}) {
    CAPTURE(source);
    const auto of_row = "name = 'b'\npassword = 'x'\n" + source;
    CHECK(file.problems(token + row(of_row)) == Lines{});
    CHECK(file.problems(token + row(of_row + "\ntoken = false")) == unused);
    CHECK(file.problems(token + row(of_row + "\ntoken = true")) == unused);
    // A secret in the same section is never a token.
    CHECK(file.problems(token + kSecret + kRow + row(of_row)) == unused);
  }
  CHECK(file.problems(token + row("name = 'b'\npassword = 'x'\nsecret = 'hunter2'")) == unused);

  const auto own_word = row("name = 'b'\npassword = 'x'\ntoken = true");
  CHECK(file.problems("login.file = 'x'\n" + own_word) == Lines{});
  CHECK(file.problems(kSecret + own_word) == Lines{"10:9: service.account.token: " + no_effect});
  CHECK(file.problems("login.file = 'x'\n" + kRow + row("name = 'b'\ntoken = true")) ==
        Lines{"12:9: service.account.token: has no effect in a row without a password: the "
              "client's own is passed on to the server"});
}

TEST_CASE("login: a mechanism fits the secrets that it sends", "[config][login]") {
  const LoginFile file;
  const auto found = [&file](const std::string& mechanism, const std::string& more) {
    return file.problems("login.mechanism = '" + mechanism + "'\n" + more);
  };
  const std::string at = "6:19: service.login.mechanism: ";
  for (const std::string mechanism : {"xoauth2", "oauthbearer"}) {
    CAPTURE(mechanism);
    const std::string start = at + "'" + mechanism + "' sends tokens only, but ";
    CHECK(found(mechanism, "login.file = 'x'\nlogin.token = true\n" + kRow) == Lines{});
    CHECK(found(mechanism, "login.file = 'x'\n" + kRow) ==
          Lines{start + "the secret is a password: set token = true, "
                        "with file, socket or command"});
    CHECK(found(mechanism, kSecret + kRow) ==
          Lines{start + "the secret is a password: set token = true, "
                        "with file, socket or command"});
    CHECK(found(mechanism, row("name = 'b'\npassword = 'x'\nfile = 'y'")) ==
          Lines{start + "that of the account 'b' is a password: set token = true, "
                        "with file, socket or command"});
    // A row has the service's token, or its own word about it.
    CHECK(found(mechanism,
                "login.token = true\n" + row("name = 'b'\npassword = 'x'\nfile = 'y'")) == Lines{});
    CHECK(found(mechanism,
                "login.file = 'x'\n" + row("name = 'b'\npassword = 'x'\ntoken = true")) == Lines{});
    CHECK(found(mechanism, "login.file = 'x'\nlogin.token = true\n" + kRow +
                               row("name = 'b'\npassword = 'x'\ntoken = false")) ==
          Lines{start + "that of the account 'b' is a password: set token = true, "
                        "with file, socket or command"});
    const std::string passed_on =
        start + "a client's own password is passed on: leave mechanism out";
    CHECK(found(mechanism, "") == Lines{passed_on});
    CHECK(found(mechanism, row("name = '*'")) == Lines{passed_on});
  }
  for (const std::string mechanism : {"plain", "login"}) {
    CAPTURE(mechanism);
    CHECK(found(mechanism, "") == Lines{});
    CHECK(found(mechanism, kSecret + kRow) == Lines{});
    CHECK(found(mechanism, "login.file = 'x'\nlogin.token = true\n" + kRow) ==
          Lines{at + "'" + mechanism +
                "' sends passwords only, but the secret is a token: leave "
                "mechanism out, or set token = false"});
  }
  CHECK(found("auto", "login.file = 'x'\nlogin.token = true\n" + kRow) == Lines{});
}

TEST_CASE("login: before the greeting, the proxy needs an account of its own", "[config][login]") {
  LoginFile file;
  CHECK(file.problems(kConnect) == Lines{});
  CHECK(file.problems("login.when = 'connect'\n") ==
        Lines{"1:1: service.login.user: is required if when is 'connect': no client names an "
              "account",
              "1:1: service.login.secret: or file, socket or command is required if when is "
              "'connect': no client gives a password"});
  CHECK(file.problems(kConnect + kRow) ==
        Lines{"7:1: service.account: has no effect if service.login.when is 'connect': no client "
              "logs in"});
  CHECK(file.problems(kConnect + "upstream.warm = 2\n") == Lines{});
  file.protocol = "lmtp";
  CHECK(file.problems(kConnect) == Lines{});
  for (const std::string protocol : {"imap", "pop3", "sieve", "nntp"}) {
    file.protocol = protocol;
    CHECK(file.problems(kConnect) ==
          Lines{"6:18: service.login.when: 'connect' is for smtp and lmtp only: with " + protocol +
                ", a client cannot do without a login"});
  }
}

TEST_CASE("login: every account has a name of its own, and a password if it has a secret",
          "[config][login]") {
  const LoginFile file;
  CHECK(file.problems(kRow) ==
        Lines{"6:1: service.account: has no effect without [service.login]: write that section, "
              "too; it may be empty"});
  CHECK(file.problems(kSecret + kRow + row("name = 'b'\npassword = 'x'") + kRow) ==
        Lines{"14:8: service.account.name: 'a' is already the name of an earlier row"});
  CHECK(file.problems("[service.login]\n" + row("name = 'a'\nsecret = 'hunter2'")) ==
        Lines{"9:10: service.account.secret: needs a password in this row: without one, the "
              "client's own is passed on to the server"});
  CHECK(file.problems("[service.login]\n" + row("name = 'a'\nfile = 'x'")).size() == 1);
  const std::string no_secret =
      "service.account.password: needs a secret, a file, a socket or a command, here or in "
      "[service.login]: the proxy cannot log in without";
  CHECK(file.problems("[service.login]\n" + kRow) == Lines{"9:12: " + no_secret});
  CHECK(file.problems("[service.login]\n" + kOpenRow) == Lines{"9:12: " + no_secret});
  // A row may give only another name, and pass on the client's password.
  CHECK(file.problems("[service.login]\n" + row("name = 'a'\nuser = 'a@example.com'")) == Lines{});
}

TEST_CASE("login: a secret that no client can use is refused", "[config][login]") {
  const LoginFile file;
  CHECK(file.problems(kSecret) ==
        Lines{"6:16: service.login.secret: needs rows of [[service.account]]: they say which "
              "clients may use it"});
  const std::string unused =
      "is used by no [[service.account]]: rows with a password and without a source of their own "
      "use it";
  CHECK(file.problems(kSecret + row("name = '*'")) ==
        Lines{"6:16: service.login.secret: " + unused});
  CHECK(file.problems("login.file = 'x'\n" + row("name = 'b'\npassword = 'x'\nfile = 'y'")) ==
        Lines{"6:14: service.login.file: " + unused});
}

TEST_CASE("login: warm connections need a login that no client takes part in", "[config][login]") {
  const LoginFile file;
  CHECK(file.problems("upstream.warm = 1\nlogin = {}\n") ==
        Lines{"6:17: service.upstream.warm: cannot be used if service.login.when is 'client': each "
              "client needs a login of its own"});
}

TEST_CASE("login: a secret goes only to a server that is verified", "[config][login][security]") {
  LoginFile file;
  const std::string rule =
      "cannot be used with the secrets of a login, which only a verified server may see: set ";
  const std::string pin = "upstream.pins = 'sha256:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA='\n";
  for (const auto& login : {kConnect, kSecret + kRow,
                            "[service.login]\n" + row("name = 'a'\npassword = 'x'\nfile = 'y'")}) {
    CAPTURE(login);
    for (const std::string tls : {"none", "opportunistic"}) {
      CHECK(
          file.problems("upstream.tls = '" + tls + "'\n" + login) ==
          Lines{"6:16: service.upstream.tls: '" + tls + "' " + rule + "'starttls' or 'implicit'"});
      CHECK_FALSE(file.problems(pin + "upstream.tls = '" + tls + "'\n" + login).empty());
    }
    for (const std::string tls : {"starttls", "implicit"}) {
      const auto leg = "upstream.tls = '" + tls + "'\n";
      CHECK(file.problems(leg + login) == Lines{});
      CHECK(file.problems("upstream.verify = 'none'\n" + leg + login) ==
            Lines{"6:19: service.upstream.verify: 'none' " + rule +
                  "'full', or pins to the server's key"});
      CHECK(file.problems("upstream.verify = 'none'\n" + pin + leg + login) == Lines{});
    }
  }
  // With none of the proxy's own secrets, clients decide for themselves as they do today.
  CHECK(file.problems("upstream.tls = 'none'\nlogin = {}\n") == Lines{});
  CHECK(file.problems("upstream.verify = 'none'\n[service.login]\n" + row("name = '*'")) ==
        Lines{});
}

TEST_CASE("login: a secret goes to no unverified server of an intercepted connection",
          "[config][login][security]") {
  LoginFile file;
  file.upstream = "upstream.address = 'original-destination'";
  const std::string rule =
      "cannot be used with the secrets of a login, which only a verified server may see: set ";
  const auto destination = [](const std::string& members) {
    return "[[service.destination]]\nnetworks = '192.0.2.0/24'\n" + members + "\n";
  };
  CHECK(file.problems(kConnect + destination("server_name = 'mx.example.com'")) == Lines{});
  CHECK(file.problems(kConnect + destination("tls = 'none'")) ==
        Lines{"9:7: service.destination.tls: 'none' " + rule + "'starttls' or 'implicit'"});
  CHECK(file.problems(kConnect + destination("verify = 'none'")) ==
        Lines{"9:10: service.destination.verify: 'none' " + rule +
              "'full', or pins to the server's key"});
  CHECK(file.problems(kConnect +
                      destination("verify = 'none'\npins = "
                                  "'sha256:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA='")) ==
        Lines{});
  // The other servers are judged by the service's own settings, and reported once.
  CHECK(file.problems("upstream.verify = 'none'\n" + kConnect + destination("")) ==
        Lines{"6:19: service.upstream.verify: 'none' " + rule +
              "'full', or pins to the server's key"});
  CHECK(file.problems("upstream.verify = 'none'\n" + kConnect +
                      destination("verify = 'full'\nserver_name = 'mx.example.com'")) ==
        Lines{"6:19: service.upstream.verify: 'none' " + rule +
              "'full', or pins to the server's key"});
}

TEST_CASE("login: no client uses the proxy's secret by accident", "[config][login][security]") {
  LoginFile file;
  file.folder.fill({"a.pem", "a.key", "ca.pem"});
  file.listen = "'0.0.0.0:2525'";
  const std::string tls =
      "downstream.tls = 'starttls'\ndownstream.certificates = [{ chain = 'a.pem', key = 'a.key' "
      "}]\n";
  const auto allow = [](const std::string& networks) {
    return "downstream.allow = [" + networks + "]\n";
  };
  const std::string anyone =
      "4:10: service.listen: any client that reaches 0.0.0.0:2525 could use the proxy's secret at "
      "the server ([service.login]): give each [[service.account]] a password, or name few clients "
      "with downstream.allow = [\"192.168.1.0/24\"] (no network wider than /16, IPv6 /48), or set "
      "downstream.client_ca";
  const auto wide = [](const std::string& network) {
    return "6:20: service.downstream.allow: " + network +
           " is too wide: its clients could use the proxy's secret at the server "
           "([service.login]). Name networks no wider than /16 (IPv6 /48), give each "
           "[[service.account]] a password, or set service.downstream.client_ca";
  };
  const auto open_logins = {kConnect, kSecret + kOpenRow, kSecret + kRow + kOpenRow,
                            "[service.login]\n" + row("name = 'b'\npassword = ''\nfile = 'y'")};
  for (const auto& login : open_logins) {
    CAPTURE(login);
    CHECK(file.problems(login) == Lines{anyone});
    CHECK(file.problems(allow("") + login) == Lines{anyone});
    CHECK(file.problems(tls + login) == Lines{anyone});
    CHECK(file.problems(allow("'10.1.0.0/16', '2001:db8:1::/48'") + login) == Lines{});
    CHECK(file.problems(allow("'10.1.0.0/16', '10.2.0.0/15'") + login) ==
          Lines{wide("10.2.0.0/15")});
    CHECK(file.problems(allow("'10.1.0.0/16', '2001:db8::/47'") + login) ==
          Lines{wide("2001:db8::/47")});
    CHECK(file.problems(allow("'0.0.0.0/0', '::/0'") + login) == Lines{wide("0.0.0.0/0")});
    CHECK(file.problems(tls + "downstream.client_ca = 'ca.pem'\n" + login) == Lines{});
  }

  // With a password for each account, only the usual question is left: which clients may try.
  const auto closed = kSecret + kRow + row("name = '*'");
  CHECK(file.problems(allow("'0.0.0.0/0', '::/0'") + closed) == Lines{});
  CHECK(file.problems(tls + closed) ==
        Lines{"4:10: service.listen: any client that reaches 0.0.0.0:2525 could try passwords of "
              "[[service.account]]: name the allowed clients with downstream.allow = "
              "[\"192.168.1.0/24\"] (everyone: [\"0.0.0.0/0\", \"::/0\"]), or set "
              "downstream.client_ca"});
  CHECK(file.problems(tls + "downstream.client_ca = 'ca.pem'\n" + closed) == Lines{});
}

TEST_CASE("login: every local user may use a secret of a local service, with a warning",
          "[config][login][security]") {
  LoginFile file;
  const std::string warning =
      "every user of this machine can use the proxy's secret at the server, without a password "
      "(service.login)";
  for (const std::string listen :
       {"'127.0.0.1:2525'", "'[::1]:2525'", "'unix:x.sock'", "['127.0.0.9:1', 'unix:x.sock']"}) {
    file.listen = listen;
    CHECK(config::warnings(file.service(kConnect)) == Lines{warning});
    CHECK(config::warnings(file.service(kSecret + kOpenRow)) == Lines{warning});
    CHECK(config::warnings(file.service(kSecret + kRow)) == Lines{});
    CHECK(config::warnings(file.service("login = {}\n")) == Lines{});
  }
  file.listen = "['127.0.0.1:2525', '192.0.2.1:2525']";
  CHECK(file.problems(kConnect).size() == 1);
}

TEST_CASE("login: a balancer on this machine may bring clients from anywhere",
          "[config][login][security]") {
  LoginFile file;
  file.listen = "['unix:x.sock', '127.0.0.1:2525']";
  const std::string balancer = "downstream.proxy_protocol = '127.0.0.1'\n";
  const auto found = file.problems(balancer + kConnect);
  REQUIRE(found.size() == 1);
  CHECK(
      found[0].starts_with("4:10: service.listen: any client that reaches 127.0.0.1:2525 could "
                           "use the proxy's secret"));
  CHECK(file.problems(balancer + kSecret + kRow) == Lines{});
  CHECK(file.problems(balancer + "downstream.allow = '192.0.2.0/24'\n" + kConnect) == Lines{});
}

TEST_CASE("login: the address of an inherited socket is judged at start",
          "[config][login][security]") {
  LoginFile file;
  file.listen = "'systemd:mail'";
  const auto service = file.service(kConnect);
  const auto risk = config::exposure(service);
  CHECK(risk == config::Exposure::secret);
  CHECK(is_exposed_at({"0.0.0.0", 25, ""}, service, risk));
  CHECK(is_exposed_at({"192.0.2.1", 25, ""}, service, risk));
  CHECK_FALSE(is_exposed_at({"127.0.0.1", 25, ""}, service, risk));
  CHECK_FALSE(is_exposed_at({"", 0, "/run/x.sock"}, service, risk));
  CHECK_FALSE(is_exposed_at({"0.0.0.0", 25, ""}, service, config::Exposure::none));
  CHECK(config::exposure(file.service(kSecret + kRow)) == config::Exposure::clear_text);
}

TEST_CASE("login: after a bad key, its consequences are not reported", "[config][login]") {
  LoginFile file;
  file.listen = "'0.0.0.0:2525'";
  file.upstream += "\nupstream.tls = 'none'";
  const auto only = [&file](const std::string& more) { return file.problems(more).size(); };
  CHECK(only("downstream.allow = '10.0.0.0/24'\nlogin = { when = 'x', secret = 'hunter2' }\n") ==
        1);
  CHECK(only("downstream.allow = '10.0.0.0/24'\nlogin = { secret = 1 }\n") == 1);
  CHECK(only("login = {}\ndownstream.allow = '10.0.0.0/24'\n" + row("password = 'x'")) == 1);
}
