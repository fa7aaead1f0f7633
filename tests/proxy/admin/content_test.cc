#include "proxy/admin/content.h"

#include <string>

#include <nlohmann/json.hpp>

#include "tests/support/catch.h"

using namespace std::chrono_literals;
using namespace starttls;

namespace {

constexpr UnixTime kNow{1'700'000'000s};  // 2023-11-14 22:13:20

constexpr UnixTime later(std::chrono::seconds by) {
  return {kNow.since_1970 + by};
}

CertificateInUse certificate(UnixTime from, UnixTime to) {
  return {"office", Side::downstream, "/etc/a.pem", from, to};
}

}  // namespace

TEST_CASE("admin text: ready without certificates, and with valid ones", "[proxy][admin]") {
  CHECK(obstacles(false, {}, kNow).empty());
  CHECK(obstacles(false, {certificate(kNow, kNow)}, kNow).empty());
  const auto response = verdict("ready", {});
  CHECK(response.status == HttpStatus::ok);
  CHECK(response.body == "ready\n");
}

TEST_CASE("admin text: all reasons for not being ready are listed", "[proxy][admin]") {
  const auto found = obstacles(
      true, {certificate(later(-2s), later(-1s)), certificate(later(1s), later(2s))}, kNow);
  REQUIRE(found.size() == 3);
  CHECK(found[0] == "draining");
  CHECK(found[1] ==
        "service office: the certificate in /etc/a.pem expired on 2023-11-14 22:13:19 UTC");
  CHECK(
      found[2] ==
      "service office: the certificate in /etc/a.pem is not valid before 2023-11-14 22:13:21 UTC");
  const auto response = verdict("ready", {"draining", "late"});
  CHECK(response.status == HttpStatus::unavailable);
  CHECK(response.body == "not ready: draining\nnot ready: late\n");
}

TEST_CASE("admin text: a date of any year is right", "[proxy][admin][T1]") {
  constexpr UnixTime kEndOf9999{253'402'300'799s};
  constexpr UnixTime k2263{9'246'182'400s};
  constexpr UnixTime kOld{-86'400s};
  CHECK(obstacles(false, {certificate(kOld, kEndOf9999), certificate(kOld, k2263)}, kNow).empty());
  const auto found = obstacles(
      false,
      {certificate(kEndOf9999, kEndOf9999), certificate(kOld, kOld), certificate(k2263, k2263)},
      kNow);
  REQUIRE(found.size() == 3);
  CHECK(found[0].ends_with(" is not valid before 9999-12-31 23:59:59 UTC"));
  CHECK(found[1].ends_with(" expired on 1969-12-31 00:00:00 UTC"));
  CHECK(found[2].ends_with(" is not valid before 2263-01-01 00:00:00 UTC"));
}

TEST_CASE("admin text: sessions are valid JSON with any name", "[proxy][admin]") {
  Listing listing;
  listing.open = 3;
  listing.sessions.push_back({.session = "0a.1.2",
                              .service = "office",
                              .client = "unix:",
                              .server = "unix:/\xff\"\n",
                              .downstream_tls = "none",
                              .downstream_group = "",
                              .upstream_tls = "TLSv1.3",
                              .upstream_group = "X25519",
                              .phase = "relay",
                              .state = "relay",
                              .age = 1500ms,
                              .bytes_to_server = 1,
                              .bytes_to_client = 18'446'744'073'709'551'615U});
  const auto response = to_json(listing);
  CHECK(response.status == HttpStatus::ok);
  CHECK(response.content == AdminResponse::Content::json);
  const auto page = nlohmann::json::parse(response.body);
  CHECK(page["open"] == 3);
  CHECK(page["listed"] == 1);
  CHECK(page["complete"] == false);
  const auto& session = page["sessions"][0];
  CHECK(session["session"] == "0a.1.2");
  CHECK(session["server"] == "unix:/\xEF\xBF\xBD\"\n");
  CHECK(session["downstream_group"] == "");
  CHECK(session["upstream_group"] == "X25519");
  CHECK(session["seconds"] == 1.5);
  CHECK(session["bytes_to_client"] == 18'446'744'073'709'551'615U);
}
