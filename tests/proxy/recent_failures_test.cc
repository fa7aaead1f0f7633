#include "proxy/recent_failures.h"

#include <string>

#include "tests/support/catch.h"

using namespace starttls;

namespace {

UnixTime second(int seconds) {
  return {std::chrono::seconds{seconds}};
}

session::FailedSession failed(const std::string& reason, const std::string& session = "a.0.0") {
  return {session, "office", Errc::timeout, reason};
}

}  // namespace

TEST_CASE("recent failures: equal ones are one entry, which becomes the newest", "[proxy][admin]") {
  RecentFailures failures;
  failures.add(failed("slow", "a.0.0"), second(1));
  failures.add(failed("gone"), second(2));
  failures.add(failed("slow", "a.0.9"), second(3));
  failures.add({"a.0.3", "archive", Errc::timeout, "gone"}, second(4));
  failures.add({"a.0.4", "archive", Errc::closed, "gone"}, second(5));
  const auto all = failures.all();
  REQUIRE(all.size() == 4);
  CHECK(all[0].last.outcome == Outcome{Errc::closed});
  CHECK(all[1].last.service == "archive");
  CHECK(all[2].last.reason == "slow");
  CHECK(all[2].last.session == "a.0.9");
  CHECK(all[2].at == second(3));
  CHECK(all[2].times == 2);
  CHECK(all[3].last.reason == "gone");
  CHECK(all[3].times == 1);
}

TEST_CASE("recent failures: memory is bounded", "[proxy][admin][security]") {
  RecentFailures failures;
  for (int i = 0; i < 500; ++i) {
    failures.add(failed(std::to_string(i) + std::string(5000, 'x')), second(i));
  }
  const auto all = failures.all();
  REQUIRE(all.size() == RecentFailures::kMaxEntries);
  CHECK(all.front().last.reason.starts_with("499x"));
  for (const auto& each : all) {
    CHECK(each.last.reason.size() == RecentFailures::kMaxReason + 3);
    CHECK(each.last.reason.ends_with("x..."));
  }
}
