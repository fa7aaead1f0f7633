#include "lib/base/utc.h"

#include <chrono>

#include "tests/support/catch.h"

namespace starttls {
namespace {

using namespace std::chrono_literals;

constexpr UnixTime kNow{std::chrono::seconds{1'700'000'000}};
constexpr std::chrono::seconds kDay{24h};

TEST_CASE("utc: a time is written as the format says", "[base]") {
  CHECK(utc(kNow, "%Y-%m-%d %H:%M:%S") == "2023-11-14 22:13:20");
}

TEST_CASE("utc: people and programs read the same time in different notations", "[base]") {
  CHECK(date_text(kNow) == "2023-11-14 22:13:20 UTC");
  CHECK(rfc3339(kNow) == "2023-11-14T22:13:20Z");
}

TEST_CASE("utc: a year has four digits", "[base][T1]") {
  constexpr UnixTime kYear1{-62'135'596'800s};
  constexpr UnixTime kYear999{-30'610'224'001s};
  constexpr UnixTime kYear9999{253'402'300'799s};
  CHECK(date_text(kYear1) == "0001-01-01 00:00:00 UTC");
  CHECK(rfc3339(kYear1) == "0001-01-01T00:00:00Z");
  CHECK(date_text(kYear999) == "0999-12-31 23:59:59 UTC");
  CHECK(rfc3339(kYear999) == "0999-12-31T23:59:59Z");
  CHECK(date_text(kYear9999) == "9999-12-31 23:59:59 UTC");
  CHECK(rfc3339(kYear9999) == "9999-12-31T23:59:59Z");
}

TEST_CASE("utc: the time left is counted in whole days", "[base][T4]") {
  const auto left = [](std::chrono::seconds by) { return time_left({kNow.since_1970 + by}, kNow); };
  CHECK(left(29 * kDay + 23h) == "29 days left");
  CHECK(left(kDay) == "1 day left");
  CHECK(left(kDay - 1s) == "less than a day left");
  CHECK(left(0s) == "less than a day left");
  CHECK(left(-1s) == "expired less than a day ago");
  CHECK(left(-kDay - 1h) == "expired 1 day ago");
  CHECK(left(-3 * kDay) == "expired 3 days ago");
}

TEST_CASE("utc: the days until a moment are negative as soon as it has passed", "[base][T4]") {
  const auto days = [](std::chrono::seconds by) {
    return days_until({kNow.since_1970 + by}, kNow);
  };
  CHECK(days(kDay) == 1);
  CHECK(days(0s) == 0);
  CHECK(days(-1s) == -1);
  CHECK(days(-kDay - 1s) == -2);
}

}  // namespace
}  // namespace starttls
