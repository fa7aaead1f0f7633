#include "proxy/check_report.h"

#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json.hpp>

#include "lib/config/load.h"
#include "lib/tls/library.h"
#include "tests/support/catch.h"

using namespace std::chrono_literals;
using namespace starttls;
using Json = nlohmann::json;

namespace {

constexpr UnixTime kCheckedAt{1'700'000'000s};  // 2023-11-14 22:13:20
constexpr std::string_view kProtocols[] = {"smtp", "imap"};
constexpr std::string_view kConfig = R"([proxy]
user = "mail"
sandbox = false
[admin]
listen = "127.0.0.1:9465"
[[service]]
name = "office"
protocol = "smtp"
listen = ["127.0.0.1:2525", "[::1]:2525"]
upstream = { address = "smtp.example.com:587" }
timeouts.idle = "10m"
[[service]]
name = "reader"
protocol = "imap"
listen = "127.0.0.1:1143"
downstream.allow = ["127.0.0.1"]
upstream = { address = "192.0.2.1:143", tls = "opportunistic", server_name = "imap.example.com" }
)";

config::Config loaded(std::string_view text = kConfig) {
  config::Config config;
  const auto problems = config::load_text(text, "/etc/a.toml", kProtocols, config);
  for (const auto& problem : problems) FAIL(problem.where << ": " << problem.text);
  return config;
}

CertificateInUse ending_in(std::chrono::seconds left) {
  return {.service = "office",
          .side = Side::upstream,
          .file = "/etc/a.pem",
          .not_before = {kCheckedAt.since_1970 - 24h},
          .not_after = {kCheckedAt.since_1970 + left},
          .names = "a.example, b.example, ...",
          .issuer = "CN=some CA"};
}

std::vector<std::string> texts(const std::vector<CheckWarning>& warnings) {
  std::vector<std::string> out;
  for (const auto& each : warnings) out.push_back(each.service + "|" + each.text);
  return out;
}

}  // namespace

TEST_CASE("check: ends with a count", "[proxy][check]") {
  const auto config = loaded();
  CheckReport report{.config_file = "/etc/a.toml", .config = &config};
  CHECK(summary(report) == "ok: 2 services");
  report.warnings = {{"office", "a"}};
  CHECK(summary(report) == "ok: 2 services, 1 warning");
  report.errors = {{"/etc/a.toml:1:2", "a"}, {"/etc/a.toml:2:2", "b"}};
  report.warnings.push_back({"", "b"});
  CHECK(summary(report) == "2 errors, 2 warnings");
  report.errors.pop_back();
  report.warnings.clear();
  CHECK(summary(report) == "1 error");
}

TEST_CASE("check: a login is shown without its secrets", "[proxy][check][login][security]") {
  const auto config = loaded(R"([[service]]
name = "office"
protocol = "smtp"
listen = "127.0.0.1:2525"
upstream.address = "smtp.example.com:587"
[service.login]
mechanism = "plain"
user = "all@example.com"
secret = "hunter2"
[[service.account]]
name = "scanner"
password = "hunter3"
user = "scan@example.com"
[[service.account]]
name = "erp"
password = ""
file = "erp.pw"
[[service.account]]
name = "*"
[[service]]
name = "plain"
protocol = "smtp"
listen = "127.0.0.1:2526"
upstream.address = "smtp.example.com:587"
)");
  CheckReport report{.config_file = "/etc/a.toml", .config = &config};
  const auto text = to_json(report, kCheckedAt);
  CHECK(text.find("hunter") == std::string::npos);
  const auto json = Json::parse(text);
  CHECK(json["services"][0]["login"] == Json::parse(R"({"when": "client", "mechanism": "plain",
      "user": "all@example.com", "secret": "hidden", "file": null, "socket": null,
      "command": null, "token": false, "lifetime": "30m", "timeout": "10s"})"));
  CHECK(json["services"][0]["account"] == Json::parse(R"([
      {"name": "scanner", "password": "hidden", "user": "scan@example.com", "secret": "hidden",
       "file": null, "socket": null, "command": null, "token": false},
      {"name": "erp", "password": "", "user": "all@example.com", "secret": null,
       "file": "/etc/erp.pw", "socket": null, "command": null, "token": false},
      {"name": "*", "password": null, "user": "all@example.com", "secret": null, "file": null,
       "socket": null, "command": null, "token": false}])"));
  CHECK(json["services"][1]["login"] == nullptr);
  CHECK(json["services"][1]["account"] == Json::array());
}

TEST_CASE("check: counts the warnings of process, services and certificates", "[proxy][check]") {
  const auto config = loaded();
  const std::vector<CertificateInUse> certificates = {ending_in(24h), ending_in(-1s),
                                                      ending_in(24h * 400)};
  const auto found =
      texts(check_warnings(config, config::StartedBy::user, certificates, kCheckedAt));
  REQUIRE(found.size() == 3);
  CHECK(found[0].starts_with("|"));
  CHECK(found[0].find("proxy.sandbox") != std::string::npos);
  CHECK(found[1] ==
        "office|the certificate in /etc/a.pem expires on 2023-11-15 22:13:20 UTC: renew it");
  CHECK(found[2].starts_with("reader|"));
  CHECK(found[2].find("upstream.tls = opportunistic") != std::string::npos);
}

TEST_CASE("check --json: services have the keys of the file and the values in force",
          "[proxy][check]") {
  const auto config = loaded();
  const CheckReport report{.config_file = "/etc/a.toml", .config = &config};
  const auto json = Json::parse(to_json(report, kCheckedAt));
  CHECK(json["ok"] == true);
  CHECK(json["errors"].empty());
  CHECK(json["warnings"].empty());
  CHECK(json["certificates"].empty());
  CHECK(json["admin"] == Json{{"listen", "127.0.0.1:9465"}});
  CHECK(json["process"]["user"] == "mail");
  CHECK(json["process"]["sandbox"] == false);
  CHECK(json["process"]["tls_library"] == tls::library_version());
  CHECK(json["process"]["post_quantum"].is_string());
  REQUIRE(json["services"].size() == 2);
  const auto& office = json["services"][0];
  CHECK(office["name"] == "office");
  CHECK(office["protocol"] == "smtp");
  CHECK(office["listen"] == std::vector<std::string>{"127.0.0.1:2525", "[::1]:2525"});
  CHECK(office["downstream"]["tls"] == "none");
  CHECK(office["downstream"]["certificates"].empty());
  CHECK(office["downstream"]["client_ca"].is_null());
  CHECK(office["upstream"]["address"] == std::vector<std::string>{"smtp.example.com:587"});
  CHECK(office["upstream"]["tls"] == "starttls");
  CHECK(office["upstream"]["post_quantum"] == "auto");
  CHECK(office["upstream"]["verify"] == "full");
  CHECK(office["upstream"]["server_name"].is_null());
  CHECK(office["upstream"]["verified_names"] == std::vector<std::string>{"smtp.example.com"});
  CHECK(office["upstream"]["certificate"].is_null());
  CHECK(office["upstream"]["send_proxy"].is_null());
  CHECK(office["destination"].empty());
  CHECK(office["timeouts"]["idle"] == "10m");
  CHECK(office["timeouts"]["connect"] == "10s");
  const auto& reader = json["services"][1];
  CHECK(reader["listen"] == std::vector<std::string>{"127.0.0.1:1143"});
  CHECK(reader["downstream"]["allow"] == std::vector<std::string>{"127.0.0.1"});
  CHECK(reader["upstream"]["server_name"] == "imap.example.com");
}

TEST_CASE("check --json: errors have their place, or their option", "[proxy][check]") {
  CheckReport report{.config_file = "/etc/a:1.toml"};
  report.errors = {{"/etc/a:1.toml:7:33", "service.upstream.tls: must be b"},
                   {"/etc/a:1.toml", "No such file: or directory"},
                   {"/etc/a:1.toml:9:1", "unknown key 'x': did you mean 'y'?"},
                   {"/etc/a:1.toml:9:2", "service.upstream: must be a table"},
                   {"/etc/a:1.toml:9:3", "service.timeouts.idle: is \xff"}};
  const auto json = Json::parse(to_json(report, kCheckedAt));
  CHECK(json["ok"] == false);
  CHECK(json["services"].empty());
  CHECK(json["admin"]["listen"].is_null());
  CHECK(json["process"].is_null());
  REQUIRE(json["errors"].size() == 5);
  CHECK(json["errors"][0] == Json{{"file", "/etc/a:1.toml"},
                                  {"line", 7},
                                  {"column", 33},
                                  {"key", "service.upstream.tls"},
                                  {"message", "must be b"}});
  CHECK(json["errors"][1] == Json{{"file", "/etc/a:1.toml"},
                                  {"line", nullptr},
                                  {"column", nullptr},
                                  {"key", nullptr},
                                  {"message", "No such file: or directory"}});
  CHECK(json["errors"][2]["line"] == 9);
  CHECK(json["errors"][2]["key"].is_null());
  CHECK(json["errors"][2]["message"] == "unknown key 'x': did you mean 'y'?");
  CHECK(json["errors"][3]["key"] == "service.upstream");
  CHECK(json["errors"][4]["key"] == "service.timeouts.idle");

  const CheckReport of_flags{.errors = {{"--upstream", "the port is missing: 25"}}};
  CHECK(Json::parse(to_json(of_flags, kCheckedAt))["errors"][0] ==
        Json{{"file", nullptr},
             {"line", nullptr},
             {"column", nullptr},
             {"key", "--upstream"},
             {"message", "the port is missing: 25"}});
}

TEST_CASE("check --json: warnings and certificates", "[proxy][check]") {
  const auto config = loaded();
  CheckReport report{.config_file = "/etc/a.toml", .config = &config};
  report.warnings = {{"", "the process"}, {"office", "the service"}};
  report.certificates = {ending_in(24h * 30 + 1s), ending_in(-1s)};
  report.certificates[1].names = "no name";
  const auto json = Json::parse(to_json(report, kCheckedAt));
  CHECK(json["warnings"][0] == Json{{"service", nullptr}, {"message", "the process"}});
  CHECK(json["warnings"][1] == Json{{"service", "office"}, {"message", "the service"}});
  REQUIRE(json["certificates"].size() == 2);
  CHECK(json["certificates"][0] == Json{{"service", "office"},
                                        {"leg", "upstream"},
                                        {"file", "/etc/a.pem"},
                                        {"names", {"a.example", "b.example", "..."}},
                                        {"issuer", "CN=some CA"},
                                        {"not_before", "2023-11-13T22:13:20Z"},
                                        {"not_after", "2023-12-14T22:13:21Z"},
                                        {"days_left", 30}});
  CHECK(json["certificates"][1]["days_left"] == -1);
  CHECK(json["certificates"][1]["names"].empty());
}
