#include "lib/net/socket_watch.h"

#include <array>
#include <optional>

#include <fcntl.h>
#include <unistd.h>

#include "lib/base/descriptor.h"
#include "tests/support/catch.h"

using namespace starttls;
using namespace starttls::net;

TEST_CASE("socket watch: it reports bytes, and ends in its own callback", "[net]") {
  std::array<int, 2> ends{};
  REQUIRE(::pipe2(ends.data(), O_CLOEXEC | O_NONBLOCK) == 0);
  const Descriptor reader{ends[0]};
  const Descriptor writer{ends[1]};
  const auto loop = Loop::create();
  REQUIRE(loop);
  int reports = 0;
  std::optional<SocketWatch> watch;
  watch.emplace(**loop, [&] {
    ++reports;
    watch.reset();  // nothing is read, so otherwise it would be reported again
    (*loop)->stop();
  });
  REQUIRE(watch->open(reader.get()));
  REQUIRE(::write(writer.get(), "x", 1) == 1);
  (*loop)->run();
  CHECK(reports == 1);
}

TEST_CASE("socket watch: R9: a descriptor that cannot be watched is an error", "[net][R9]") {
  const Descriptor file{::open("/dev/null", O_RDONLY | O_CLOEXEC)};
  const auto loop = Loop::create();
  REQUIRE(loop);
  SocketWatch watch(**loop, [] { FAIL("nothing can come"); });
  const auto opened = watch.open(file.get());
  REQUIRE_FALSE(opened);
  CHECK(opened.error().code == Errc::system);
  CHECK(opened.error().reason.starts_with("cannot watch a socket: "));
}
