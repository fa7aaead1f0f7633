#include "proxy/admin/status.h"

#include <string>

#include <nlohmann/json.hpp>

#include "proxy/admin/status_json.h"
#include "tests/proxy/admin/status_facts.h"
#include "tests/support/catch.h"

using namespace starttls;
using test::days_later;
using test::good_status;
using test::kStatusNow;

namespace {

nlohmann::json json_of(const Status& status) {
  const auto response = status_json(status);
  CHECK(response.status == HttpStatus::ok);
  CHECK(response.content == AdminResponse::Content::json);
  return nlohmann::json::parse(response.body);
}

}  // namespace

TEST_CASE("status: certificates are sorted by their ends, and named by what they need",
          "[proxy][admin]") {
  const auto ours = [](int from, int to) {
    return CertificateInUse{"office", Side::downstream, "/etc/a.pem", days_later(from),
                            days_later(to)};
  };
  const auto all = certificates_status({ours(-9, 14), ours(-9, 15), ours(-9, -1), ours(1, 400)},
                                       {{"office", "a:25", days_later(7)},
                                        {"office", "b:25", days_later(8)},
                                        {"office", "c:25", days_later(-1)}},
                                       kStatusNow);
  std::string found;
  for (const auto& each : all) {
    found += std::string(name(each.owner)) + " " + std::string(name(each.leg)) + " " +
             std::to_string(days_until(each.not_after, kStatusNow)) + " " +
             std::string(name(each.state)) + "\n";
  }
  CHECK(found ==
        "proxy downstream -1 expired\n"
        "server upstream -1 expired\n"
        "server upstream 7 ends_soon\n"
        "server upstream 8 valid\n"
        "proxy downstream 14 ends_soon\n"
        "proxy downstream 15 valid\n"
        "proxy downstream 400 not_yet_valid\n");
  CHECK(days_until({kStatusNow.since_1970 - std::chrono::seconds{1}}, kStatusNow) == -1);
  CHECK(days_until(kStatusNow, kStatusNow) == 0);
}

TEST_CASE("status: a service has its configuration and its counts", "[proxy][admin]") {
  auto service = std::make_shared<session::Service>();
  service->config.name = "office";
  service->config.protocol = "imap";
  service->config.listen = {{"::1", 143, ""}, {"", 0, "/run/imap.sock"}};
  service->config.upstream.address = {{"imap.example.com", 993, ""}};
  service->config.upstream.tls = TlsMode::implicit;
  service->config.upstream.verify = Verification::none;
  service->metrics = std::make_shared<metrics::Service>(2);
  service->metrics->of_worker(1).session_opened();
  const auto all = services_status({service}, false, kStatusNow);
  REQUIRE(all.size() == 1);
  CHECK(all[0].listen == std::vector<std::string>{"[::1]:143", "unix:/run/imap.sock"});
  CHECK(all[0].servers == std::vector<std::string>{"imap.example.com:993"});
  CHECK(all[0].verify == "none");
  CHECK(all[0].state == ServiceStatus::State::serving);
  CHECK(all[0].sessions.open == 1);
  CHECK(services_status({service}, true, kStatusNow)[0].state == ServiceStatus::State::draining);
}

TEST_CASE("status json: it has all facts", "[proxy][admin]") {
  auto status = good_status();
  status.failures.push_back({{"0a.1.2", "office", Errc::timeout, "\xFF slow"}, days_later(0), 7});
  const auto page = json_of(status);
  CHECK(page["format"] == 1);
  CHECK(page["version"] == "1.2.3");
  CHECK(page["host"] == "proxy.example.com");
  CHECK(page["time"] == "2023-11-14T22:13:20Z");
  CHECK(page["started"] == "2023-11-11T22:13:20Z");
  CHECK(page["configuration"]["loaded"] == "2023-11-13T22:13:20Z");
  CHECK(page["configuration"]["last_reload_successful"] == true);
  CHECK(page["state"] == "ready");
  CHECK(page["obstacles"] == nlohmann::json::array());
  CHECK(page["complete"] == true);
  const nlohmann::json sessions{{"open", 2}, {"ended", {{"ok", 97}, {"timeout", 3}}}};
  CHECK(page["sessions"] == sessions);
  CHECK(page["services"] ==
        nlohmann::json::array({{{"name", "office"},
                                {"protocol", "smtp"},
                                {"state", "serving"},
                                {"listen", {"127.0.0.1:25"}},
                                {"servers", {"smtp.example.com:587", "smtp2.example.com:587"}},
                                {"downstream_tls", "none"},
                                {"upstream_tls", "starttls"},
                                {"verify", "full"},
                                {"sessions", sessions}}}));
  CHECK(page["certificates"] == nlohmann::json::array({{{"owner", "server"},
                                                        {"service", "office"},
                                                        {"leg", "upstream"},
                                                        {"name", "smtp.example.com:587"},
                                                        {"not_after", "2023-12-13T22:13:20Z"},
                                                        {"days_left", 29},
                                                        {"state", "valid"}}}));
  CHECK(page["failures"] == nlohmann::json::array({{{"time", "2023-11-14T22:13:20Z"},
                                                    {"service", "office"},
                                                    {"outcome", "timeout"},
                                                    {"reason", "\xEF\xBF\xBD slow"},
                                                    {"session", "0a.1.2"},
                                                    {"times", 7}}}));
}

TEST_CASE("status json: it says if it does not list all", "[proxy][admin][security]") {
  auto status = good_status();
  status.services.resize(kMaxStatusRows + 1, status.services[0]);
  const auto page = json_of(status);
  CHECK(page["complete"] == false);
  CHECK(page["services"].size() == kMaxStatusRows);
  CHECK(page["sessions"]["open"] == 2 * (kMaxStatusRows + 1));
}
