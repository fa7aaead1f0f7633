#include "proxy/admin_text.h"

#include <nlohmann/json.hpp>

#include "tests/support/catch.h"

using namespace std::chrono_literals;
using namespace starttls;

namespace {

constexpr std::chrono::system_clock::time_point kNow{1'700'000'000s};  // 2023-11-14 22:13:20

CertificateInUse certificate(std::chrono::system_clock::time_point from,
                             std::chrono::system_clock::time_point to) {
  return {"office", metrics::Leg::downstream, "/etc/a.pem", from, to};
}

}  // namespace

TEST_CASE("admin text: ready without certificates, and with valid ones", "[proxy][admin]") {
  CHECK(obstacles(false, {}, kNow).empty());
  CHECK(obstacles(false, {certificate(kNow, kNow)}, kNow).empty());
  const auto response = verdict("ready", {});
  CHECK(response.status == proto::HttpStatus::ok);
  CHECK(response.body == "ready\n");
}

TEST_CASE("admin text: all that is in the way is said", "[proxy][admin]") {
  const auto found =
      obstacles(true, {certificate(kNow - 2s, kNow - 1s), certificate(kNow + 1s, kNow + 2s)}, kNow);
  REQUIRE(found.size() == 3);
  CHECK(found[0] == "draining");
  CHECK(found[1] ==
        "service office: the certificate in /etc/a.pem has expired on 2023-11-14 22:13:19 UTC");
  CHECK(found[2] ==
        "service office: the certificate in /etc/a.pem is valid from 2023-11-14 22:13:21 UTC");
  const auto response = verdict("ready", {"draining", "late"});
  CHECK(response.status == proto::HttpStatus::unavailable);
  CHECK(response.body == "not ready: draining\nnot ready: late\n");
}

TEST_CASE("admin text: sessions are JSON, whatever is in a name", "[proxy][admin]") {
  Listing listing;
  listing.open = 3;
  listing.sessions.push_back({.session = "0a.1.2",
                              .service = "office",
                              .client = "unix:",
                              .server = "unix:/\xff\"\n",
                              .downstream_tls = "none",
                              .upstream_tls = "TLSv1.3",
                              .phase = "relay",
                              .state = "relay",
                              .age = 1500ms,
                              .bytes_to_server = 1,
                              .bytes_to_client = 18'446'744'073'709'551'615U});
  const auto response = to_json(listing);
  CHECK(response.status == proto::HttpStatus::ok);
  CHECK(response.content == proto::AdminResponse::Content::json);
  const auto page = nlohmann::json::parse(response.body);
  CHECK(page["open"] == 3);
  CHECK(page["listed"] == 1);
  CHECK(page["complete"] == false);
  const auto& session = page["sessions"][0];
  CHECK(session["session"] == "0a.1.2");
  CHECK(session["server"] == "unix:/\xEF\xBF\xBD\"\n");
  CHECK(session["seconds"] == 1.5);
  CHECK(session["bytes_to_client"] == 18'446'744'073'709'551'615U);
}
