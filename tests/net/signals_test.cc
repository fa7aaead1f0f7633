#include "lib/net/signals.h"

#include <csignal>

#include "tests/support/catch.h"

using namespace starttls;
using namespace starttls::net;

TEST_CASE("signals: they arrive on the loop", "[net]") {
  const auto loop = Loop::create();
  REQUIRE(loop);
  int received = 0;
  Signals signals(**loop, [&](int number) {
    received = number;
    (*loop)->stop();
  });
  REQUIRE(signals.open({SIGUSR1, SIGUSR2}));
  REQUIRE(::raise(SIGUSR2) == 0);
  (*loop)->run();
  CHECK(received == SIGUSR2);
}

TEST_CASE("signals: R9: a signal that cannot be watched is an error", "[net][R9]") {
  const auto loop = Loop::create();
  REQUIRE(loop);
  Signals signals(**loop, [](int) {});
  const auto opened = signals.open({SIGUSR1, SIGKILL});
  REQUIRE_FALSE(opened);
  CHECK(opened.error().code == Errc::system);
  CHECK(opened.error().reason == "cannot watch the signal 9: invalid argument");
}
