#include "lib/config/describe.h"

#include <string>
#include <vector>

#include "tests/support/catch.h"

using namespace starttls;
using namespace std::chrono_literals;
using config::parse_network;

namespace {

config::Service office() {
  config::Service service;
  service.name = "office";
  service.protocol = "smtp";
  service.listen = {{"127.0.0.1", 2525, ""}};
  service.upstream.address = {{"smtp.example.com", 587, ""}};
  return service;
}

}  // namespace

TEST_CASE("describe: prints in plain words what a service does", "[config]") {
  config::Config config;
  config.services.push_back(office());
  CHECK(describe(config) ==
        "service office (smtp)\n"
        "  listens on        127.0.0.1:2525\n"
        "  clients allowed   anyone on this machine\n"
        "  TLS with clients  none, in the clear\n"
        "  server            smtp.example.com:587\n"
        "  TLS with server   STARTTLS, required\n"
        "  server's minimum  TLS 1.2\n"
        "  post-quantum      not offered: this TLS library does not have X25519MLKEM768\n"
        "  verified          the chain up to the system's trust store, the name smtp.example.com\n"
        "  greeting          with the server's text\n"
        "  time-outs         connect 10s, handshake 10s, prelude 30s, command 5m, idle 35m\n");

  auto& up = config.services[0].upstream;
  config.services[0].downstream.allow = {*parse_network("10.0.0.0/8"), *parse_network("::1")};
  up.address.push_back({"", 0, "/run/mx.sock"});
  up.server_name = "mx.example.com";
  up.ca_file = "/etc/ca.pem";
  up.min_tls = TlsVersion::tls1_3;
  up.tls = TlsMode::implicit;
  up.greeting_text = false;
  up.warm = 8;
  const auto text = describe(config);
  using Catch::Matchers::ContainsSubstring;
  CHECK_THAT(text, ContainsSubstring("clients allowed   10.0.0.0/8, ::1\n"));
  CHECK_THAT(text,
             ContainsSubstring("server            smtp.example.com:587, then unix:/run/mx.sock\n"));
  CHECK_THAT(text, ContainsSubstring("TLS with server   from the first byte\n"));
  CHECK_THAT(text, ContainsSubstring("server's minimum  TLS 1.3\n"));
  CHECK_THAT(text, ContainsSubstring("the chain up to /etc/ca.pem, the name mx.example.com\n"));
  CHECK_THAT(text, ContainsSubstring("greeting          in our own words\n"));
  CHECK_THAT(text, ContainsSubstring(
                       "kept ready        8 connections per worker, after their handshake\n"));
}

TEST_CASE("describe: prints how clients are secured, and the certificates", "[config]") {
  config::Config config;
  auto& service = config.services.emplace_back(office());
  auto& down = service.downstream;
  const auto shown = [&config] {
    const auto text = describe(config);
    const auto start = text.find("  TLS with clients");
    return text.substr(start, text.find("  server  ") - start);
  };
  down.certificates = {{"/etc/a.pem", "/etc/a.key"}};
  const std::string minimum = "  client's minimum  TLS 1.2\n";
  const std::string one = "  certificate       /etc/a.pem with the key /etc/a.key\n" + minimum;
  down.tls = TlsMode::opportunistic;
  CHECK(shown() == "  TLS with clients  STARTTLS offered, the client chooses\n" + one);
  down.tls = TlsMode::starttls;
  CHECK(shown() == "  TLS with clients  STARTTLS, required\n" + one);
  down.tls = TlsMode::implicit;
  CHECK(shown() == "  TLS with clients  from the first byte\n" + one);

  down.certificates.push_back({"/etc/b.pem", "/etc/b.key"});
  CHECK(shown() ==
        "  TLS with clients  from the first byte\n"
        "  certificate       /etc/a.pem with the key /etc/a.key, the default\n"
        "  certificate       /etc/b.pem with the key /etc/b.key, for clients that ask for one of "
        "its names\n" +
            minimum);
  down.min_tls = TlsVersion::tls1_0;
  down.client_ca = "/etc/ca.pem";
  down.ticket_keys = "/etc/tickets";
  const auto text = shown();
  CHECK(text.substr(text.find("  client's minimum")) ==
        "  client's minimum  TLS 1.0\n"
        "  client certificate required, from a CA in /etc/ca.pem\n"
        "  ticket keys       /etc/tickets\n");
}

TEST_CASE("warnings: only a service that can be read or impersonated is warned about",
          "[config][security]") {
  auto service = office();
  CHECK(warnings(service).empty());

  service.upstream.verify = Verification::none;
  CHECK(
      warnings(service) ==
      std::vector<std::string>{
          "the server's certificate is not checked: it can be anyone's (upstream.verify = none)"});
  service.upstream.tls = TlsMode::opportunistic;
  CHECK(warnings(service).size() == 2);

  service.upstream.tls = TlsMode::none;
  CHECK(warnings(service) ==
        std::vector<std::string>{"mail and passwords cross the network to smtp.example.com:587 in "
                                 "the clear (upstream.tls = none)"});
  service.upstream.address = {{"127.0.0.1", 25, ""}, {"localhost", 25, ""}, {"", 0, "/run/x"}};
  CHECK(warnings(service).empty());
}

TEST_CASE("warnings: a clear server leg is warned about even if clients use TLS",
          "[config][security]") {
  const auto mode = GENERATE(TlsMode::opportunistic, TlsMode::starttls, TlsMode::implicit);
  auto service = office();
  service.downstream.tls = mode;
  CHECK(warnings(service).empty());
  service.upstream.tls = TlsMode::none;
  CHECK(
      warnings(service) ==
      std::vector<std::string>{
          "the server leg is in the clear, even for clients with TLS: mail and passwords cross the "
          "network to smtp.example.com:587 in the clear (upstream.tls = none)"});
  service.upstream.address = {{"::1", 25, ""}};
  CHECK(warnings(service).empty());
}

TEST_CASE("warnings: remote clients that may stay in the clear are warned about",
          "[config][security]") {
  auto service = office();
  service.downstream.tls = TlsMode::opportunistic;
  CHECK(warnings(service).empty());
  service.listen.push_back({"0.0.0.0", 25, ""});
  CHECK(warnings(service) ==
        std::vector<std::string>{"an attacker on the network can keep clients in the clear "
                                 "(downstream.tls = opportunistic)"});
  service.downstream.tls = TlsMode::starttls;
  CHECK(warnings(service).empty());
}

TEST_CASE("warnings and --check: an admin endpoint that others reach is reported",
          "[config][security]") {
  const auto listening = [](const std::string& text) {
    config::Admin admin;
    admin.listen = *config::parse_address(text);
    return admin;
  };
  CHECK(config::warnings(config::Admin{}).empty());
  for (const auto* local : {"127.0.0.1:9465", "[::1]:9465", "unix:/run/a.sock"}) {
    CHECK(config::warnings(listening(local)).empty());
  }
  const auto found = config::warnings(listening("0.0.0.0:9465"));
  REQUIRE(found.size() == 1);
  CHECK(found[0] ==
        "any program that reaches 0.0.0.0:9465 can see the connected clients, without a password: "
        "restrict access to it (admin.listen)");
  config::Config config;
  config.admin = listening("0.0.0.0:9465");
  CHECK(config::describe(config) ==
        "admin\n  listens on        0.0.0.0:9465\n  WARNING           " + found[0] + "\n");
}

TEST_CASE("warnings and --check: a process that stays root is reported", "[config][P3]") {
  constexpr auto* kWarning =
      "started by root, the process stays root: set proxy.user, or start it as a user without "
      "rights";
  using config::StartedBy;
  config::Config config;
  CHECK(warnings(config.proxy, StartedBy::root) == std::vector<std::string>{kWarning});
  CHECK(warnings(config.proxy, StartedBy::user).empty());
  CHECK(describe(config, StartedBy::user).empty());
  CHECK_THAT(describe(config, StartedBy::root),
             Catch::Matchers::ContainsSubstring("process\n") &&
                 Catch::Matchers::ContainsSubstring(std::string(kWarning) + "\n"));
  config.proxy.user = "mail";
  CHECK(warnings(config.proxy, StartedBy::root).empty());
}

TEST_CASE("warnings and --check: each row of an intercepting service is named",
          "[config][security]") {
  auto service = office();
  service.upstream.address.clear();
  service.upstream.original_destination = true;
  service.upstream.from_client = true;
  auto& row = service.destinations.emplace_back();
  row.networks = {*config::parse_network("192.0.2.0/24")};
  row.server_name = "mx.example.com";
  CHECK(warnings(service).empty());
  config::Config config;
  config.services = {service};
  const auto text = describe(config);
  CHECK_THAT(text, Catch::Matchers::ContainsSubstring("server in         192.0.2.0/24\n"));
  CHECK_THAT(text, Catch::Matchers::ContainsSubstring("the name mx.example.com\n"));
  CHECK_THAT(text, Catch::Matchers::ContainsSubstring(
                       "server elsewhere  the server that the client meant to reach\n"));
  CHECK_THAT(text, Catch::Matchers::ContainsSubstring("refused: no name to verify is known\n"));
  CHECK_THAT(text,
             Catch::Matchers::ContainsSubstring("connects from     the client's own address\n"));

  auto& second = service.destinations.emplace_back();
  second.networks = {*config::parse_network("10.0.0.0/8")};
  second.verify = Verification::none;
  CHECK(warnings(service) ==
        std::vector<std::string>{"in 10.0.0.0/8: the server's certificate is not checked: it can "
                                 "be anyone's (upstream.verify = none)"});
  service.upstream.tls = TlsMode::none;
  CHECK_THAT(warnings(service)[0],
             Catch::Matchers::ContainsSubstring("to the servers that clients meant to reach in"));
}

TEST_CASE("describe: prints the warnings that a look at the files has given", "[config]") {
  config::Config config;
  config.services.push_back(office());
  const auto text =
      describe(config, config::StartedBy::user, {.find_warnings = [](const config::Service& each) {
                 return std::vector<std::string>{each.name + " lacks a file"};
               }});
  CHECK_THAT(text, Catch::Matchers::ContainsSubstring("  WARNING           office lacks a file\n"));
}

TEST_CASE("describe: prints which client uses which account, without a secret",
          "[config][login][security]") {
  config::Config config;
  auto& service = config.services.emplace_back(office());
  const auto lines_about_login = [&config] {
    std::vector<std::string> found;
    const auto text = describe(config);
    CHECK(text.find("hunter") == std::string::npos);
    for (std::size_t start = 0; start < text.size(); start = text.find('\n', start) + 1) {
      const auto line = text.substr(start, text.find('\n', start) - start);
      if (line.starts_with("  login ") || line.starts_with("  account ")) {
        found.push_back(line.substr(20));
      }
    }
    return found;
  };
  using Texts = std::vector<std::string>;
  CHECK(lines_about_login() == Texts{});

  const std::string client = "a client logs in to the proxy, then the proxy to the server, by ";
  auto& login = service.login.emplace();
  CHECK(lines_about_login() == Texts{client + "the best mechanism that the server lists",
                                     "any name is the same at the server, with the client's own "
                                     "password"});
  login.mechanism = Mechanism::login;
  login.user = "all@example.com";
  login.source.text = Secret("hunter2");
  service.accounts.push_back({"scanner", Secret("hunter3"), "scan@example.com", {}});
  service.accounts.push_back({"erp", Secret(""), "", {.file = "/run/erp.token"}, true});
  service.accounts.push_back({"*", std::nullopt, "", {}});
  CHECK(lines_about_login() ==
        Texts{client + "LOGIN",
              "scanner, with its password, is scan@example.com at the server, with the password in "
              "the configuration",
              "erp, with any password, is all@example.com at the server, with the token in "
              "/run/erp.token",
              "any other name is all@example.com at the server, with the client's own password"});

  service.accounts.clear();
  login.when = LoginWhen::connect;
  login.source = {std::nullopt, "/etc/pw", false};
  CHECK(lines_about_login() ==
        Texts{"the proxy logs in before the client is greeted, by LOGIN",
              "each client is all@example.com at the server, with the password in /etc/pw"});
  const auto account = [&] { return lines_about_login().at(1).substr(46); };
  login.source = {.token = true, .socket = "/run/tokens"};
  CHECK(account() == "with the token from the socket /run/tokens");
  login.source = {.command = {"/bin/p", "hunter4"}};
  CHECK(account() == "with the password that /bin/p prints");
}

TEST_CASE("describe: says if the post-quantum group is offered to servers", "[config]") {
  using Catch::Matchers::ContainsSubstring;
  config::Config config;
  config.services.push_back(office());
  const auto text = [&config](PostQuantumSupport support) {
    return describe(config, config::StartedBy::user, {.post_quantum = support});
  };
  CHECK_THAT(text(PostQuantumSupport::none),
             ContainsSubstring("post-quantum      not offered: this TLS library does not have "
                               "X25519MLKEM768\n"));
  CHECK_THAT(text(PostQuantumSupport::with_key_share),
             ContainsSubstring("post-quantum      X25519MLKEM768 offered, always with its key "
                               "share\n"));
  CHECK_THAT(text(PostQuantumSupport::full),
             ContainsSubstring("post-quantum      X25519MLKEM768 offered\n"));
  config.services[0].upstream.post_quantum = PostQuantum::off;
  CHECK_THAT(text(PostQuantumSupport::full), ContainsSubstring("post-quantum      not offered\n"));
  config.services[0].upstream.tls = TlsMode::none;
  CHECK_THAT(text(PostQuantumSupport::full), !ContainsSubstring("post-quantum"));
}
