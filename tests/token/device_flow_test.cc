#include "token/device_flow.h"

#include "tests/support/catch.h"

namespace starttls::token {
namespace {

using std::chrono::seconds;

Failure oauth(const char* code, Exit status) {
  return {.status = status, .reason = "", .oauth_error = code};
}

TEST_CASE("device polling: it goes on while no person has confirmed") {
  DevicePolling polling{seconds{5}, seconds{900}};
  CHECK(polling.goes_on(oauth("authorization_pending", Exit::temporary)));
  CHECK(polling.wait() == seconds{5});
}

TEST_CASE("device polling: slow_down adds five seconds each time") {
  DevicePolling polling{seconds{5}, seconds{900}};
  CHECK(polling.goes_on(oauth("slow_down", Exit::temporary)));
  CHECK(polling.wait() == seconds{10});
  CHECK(polling.goes_on(oauth("slow_down", Exit::temporary)));
  CHECK(polling.wait() == seconds{15});
}

TEST_CASE("device polling: other temporary failures double the wait, up to a minute") {
  DevicePolling polling{seconds{5}, seconds{900}};
  CHECK(polling.goes_on({.status = Exit::temporary, .reason = "no answer"}));
  CHECK(polling.wait() == seconds{10});
  CHECK(polling.goes_on(
      {.status = Exit::temporary, .reason = "429", .oauth_error = "", .retry_after = seconds{45}}));
  CHECK(polling.wait() == seconds{45});
  CHECK(polling.goes_on({.status = Exit::temporary, .reason = "503"}));
  CHECK(polling.wait() == seconds{60});
}

TEST_CASE("device polling: every other failure is the end") {
  DevicePolling polling{seconds{5}, seconds{900}};
  CHECK_FALSE(polling.goes_on(oauth("access_denied", Exit::permission)));
  CHECK_FALSE(polling.goes_on(oauth("expired_token", Exit::permission)));
  CHECK_FALSE(polling.goes_on(oauth("invalid_client", Exit::config)));
  CHECK_FALSE(polling.goes_on({.status = Exit::protocol, .reason = "HTML"}));
}

TEST_CASE("device polling: the time that is left ends at zero") {
  const DevicePolling polling{seconds{5}, seconds{900}};
  CHECK(polling.left(seconds{100}) == seconds{800});
  CHECK(polling.left(seconds{901}) == seconds{0});
}

}  // namespace
}  // namespace starttls::token
