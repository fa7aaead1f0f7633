#include "proxy/supervisor/environment.h"

#include <string>
#include <vector>

#include "tests/support/catch.h"

using namespace starttls;
using systemd::passed_names;

namespace {

using Names = std::vector<std::string>;

Names names(const systemd::PassedVariables& variables) {
  const auto found = passed_names(variables, 42);
  REQUIRE(found);
  return *found;
}

std::string error(const systemd::PassedVariables& variables) {
  const auto found = passed_names(variables, 42);
  REQUIRE_FALSE(found);
  return found.error().reason;
}

}  // namespace

TEST_CASE("systemd: sockets are passed with their names", "[systemd]") {
  CHECK(names({}) == Names{});
  CHECK(names({.pid = "42", .count = "1", .names = "smtp"}) == Names{"smtp"});
  CHECK(names({.pid = "42", .count = "3", .names = "smtp:imap:smtp"}) ==
        Names{"smtp", "imap", "smtp"});
  CHECK(names({.pid = "42", .count = "2", .names = ":"}) == Names{"", ""});
  CHECK(names({.pid = "42", .count = "2", .names = {}}) == Names{"unknown", "unknown"});
  CHECK(names({.pid = "42", .count = "0", .names = {}}) == Names{});
}

TEST_CASE("systemd: sockets for another process are ignored", "[systemd]") {
  CHECK(names({.pid = "43", .count = "1", .names = "smtp"}) == Names{});
  CHECK(names({.pid = {}, .count = "1", .names = "smtp"}) == Names{});
  CHECK(names({.pid = "42", .count = {}, .names = "smtp"}) == Names{});
}

TEST_CASE("systemd: variables that no supervisor sets are errors", "[systemd]") {
  CHECK(error({.pid = "me", .count = "1", .names = {}}).find("LISTEN_PID is 'me'") !=
        std::string::npos);
  for (const std::string count : {"", "-1", "1x", "99999999999999999999", "4097"}) {
    CHECK(error({.pid = "42", .count = count, .names = {}}).find("LISTEN_FDS is '" + count + "'") !=
          std::string::npos);
  }
  for (const std::string given : {"smtp", "smtp:imap:pop3", ""}) {
    CHECK(error({.pid = "42", .count = "2", .names = given}).find("LISTEN_FDNAMES") !=
          std::string::npos);
  }
}

TEST_CASE("systemd: the watchdog's period is read", "[systemd]") {
  using std::chrono::microseconds;
  using systemd::watchdog_period;
  CHECK(watchdog_period({}, 42)->has_value() == false);
  CHECK(*watchdog_period({.period = "30000000", .pid = {}}, 42) == microseconds{30'000'000});
  CHECK(*watchdog_period({.period = "1", .pid = "42"}, 42) == microseconds{1});
  CHECK(watchdog_period({.period = "1", .pid = "43"}, 42)->has_value() == false);
  // libsystemd's value for infinity.
  CHECK(watchdog_period({.period = "18446744073709551615", .pid = {}}, 42)->has_value() == false);
  for (const std::string period : {"", "0", "-1", "1s", "18446744073709551616"}) {
    CHECK_FALSE(watchdog_period({.period = period, .pid = {}}, 42));
  }
  CHECK_FALSE(watchdog_period({.period = "1", .pid = "me"}, 42));
}
