#include "lib/session/close_policy.h"

#include "tests/support/catch.h"

using namespace starttls;
using namespace starttls::session;
using namespace std::chrono_literals;

namespace {

constexpr auto kIdle = 60'000ms;

void check_wait(const CloseStep& step, std::chrono::milliseconds after) {
  CHECK(step.action == CloseAction::wait);
  CHECK(step.after == after);
}

}  // namespace

TEST_CASE("close policy: a quiet relay ends after the idle time", "[session][close]") {
  ClosePolicy policy{kIdle, 1000ms};
  check_wait(policy.in_relay(0, 1000ms), kIdle);
  check_wait(policy.in_relay(0, 31'000ms), 30'000ms);
  policy.touch(40'000ms);
  check_wait(policy.in_relay(0, 61'000ms), 39'000ms);
  CHECK(policy.in_relay(0, 100'000ms).action == CloseAction::time_out);
}

TEST_CASE("close policy: a slow reader is not an idle one", "[session][close]") {
  ClosePolicy policy{kIdle, 0ms};
  check_wait(policy.in_relay(5000, 50'000ms), kIdle);  // these bytes were not queued before
  check_wait(policy.in_relay(4999, 100'000ms), kIdle);
  check_wait(policy.in_relay(4999, 130'000ms), 30'000ms);
  CHECK(policy.in_relay(4999, 160'000ms).action == CloseAction::time_out);
}

TEST_CASE("close policy: after the server's end the client gets everything, then a minute",
          "[session][close]") {
  ClosePolicy policy{kIdle, 0ms};
  check_wait(policy.after_servers_end(100, 0ms), ClosePolicy::kEndPoll);
  check_wait(policy.after_servers_end(1, 59'000ms), ClosePolicy::kEndPoll);
  check_wait(policy.after_servers_end(0, 100'000ms), ClosePolicy::kEndPoll);
  policy.touch(150'000ms);  // further bytes of the client do not extend the wait
  check_wait(policy.after_servers_end(0, 159'999ms), ClosePolicy::kEndPoll);
  CHECK(policy.after_servers_end(0, 160'000ms).action == CloseAction::close);
}

TEST_CASE("close policy: a client that does not take the server's last bytes is given up",
          "[session][close]") {
  ClosePolicy policy{kIdle, 0ms};
  check_wait(policy.after_servers_end(100, 0ms), ClosePolicy::kEndPoll);
  CHECK(policy.after_servers_end(100, kIdle).action == CloseAction::time_out);
}

TEST_CASE("close policy: after the proxy's end there is no wait if no bytes are left",
          "[session][close]") {
  ClosePolicy policy{kIdle, 0ms};
  CHECK(policy.after_our_end(0, Outcome::ok(), false, 2000ms).action == CloseAction::close);
  CHECK(policy.after_our_end(0, Outcome::ok(), true, 2000ms).action == CloseAction::close);
}

TEST_CASE("close policy: after a failure there is no wait for the last bytes", "[session][close]") {
  ClosePolicy policy{kIdle, 0ms};
  CHECK(policy.after_our_end(7, Errc::closed, false, 1ms).action == CloseAction::close);
  CHECK(policy.after_our_end(7, Outcome::truncated(), false, 1ms).action == CloseAction::close);
}

TEST_CASE("close policy: a client of a good session gets time for the last bytes",
          "[session][close]") {
  ClosePolicy policy{kIdle, 0ms};
  check_wait(policy.after_our_end(7, Outcome::ok(), false, 2000ms), ClosePolicy::kLinger);
  check_wait(policy.after_our_end(7, Outcome::ok(), false, 61'000ms), 1000ms);
  check_wait(policy.after_our_end(6, Outcome::ok(), false, 61'500ms), ClosePolicy::kLinger);
  CHECK(policy.after_our_end(6, Outcome::ok(), false, 121'500ms).action == CloseAction::time_out);
}

TEST_CASE("close policy: a stopping proxy does not wait for a slow reader", "[session][close]") {
  ClosePolicy policy{kIdle, 0ms};
  CHECK(policy.after_our_end(7, Outcome::ok(), true, 0ms).action == CloseAction::time_out);
}

TEST_CASE("close policy: a reset waits for delivery as long as there is progress",
          "[session][close]") {
  ClosePolicy policy{kIdle, 0ms};
  check_wait(policy.before_reset(100, 0ms), ClosePolicy::kDeliveryPoll);
  check_wait(policy.before_reset(100, 1999ms), ClosePolicy::kDeliveryPoll);
  check_wait(policy.before_reset(50, 2500ms), ClosePolicy::kDeliveryPoll);
  CHECK(policy.before_reset(50, 4500ms).action == CloseAction::reset);
  CHECK(policy.before_reset(0, 4501ms).action == CloseAction::reset);
}
