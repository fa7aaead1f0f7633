#include "lib/net/splice_pipe.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <unistd.h>

#include "lib/base/descriptor.h"
#include "tests/support/catch.h"

using starttls::Descriptor;
using starttls::net::SplicePipe;

namespace {

/// A pipe in place of a socket: splice does not mind.
class Channel {
 public:
  explicit Channel(int capacity = 1 << 20) {
    std::array<int, 2> ends{};
    REQUIRE(::pipe2(ends.data(), O_CLOEXEC | O_NONBLOCK) == 0);
    source_ = Descriptor{ends[0]};
    sink_ = Descriptor{ends[1]};
    REQUIRE(::fcntl(in(), F_SETPIPE_SZ, capacity) >= capacity);
  }

  [[nodiscard]] int in() const noexcept { return sink_.get(); }
  [[nodiscard]] int out() const noexcept { return source_.get(); }
  void write(std::string_view text) const {
    REQUIRE(::write(in(), text.data(), text.size()) == static_cast<ssize_t>(text.size()));
  }
  [[nodiscard]] std::string read() const {
    std::string text(1 << 20, '\0');
    text.resize(
        static_cast<std::size_t>(std::max<ssize_t>(0, ::read(out(), text.data(), 1 << 20))));
    return text;
  }

 private:
  Descriptor source_;
  Descriptor sink_;
};

std::string pattern(std::size_t size) {
  std::string text(size, '\0');
  for (std::size_t i = 0; i < size; ++i) text[i] = static_cast<char>(i * 31 / 7);
  return text;
}

}  // namespace

TEST_CASE("splice pipe: bytes pass in order, and no more than wanted", "[net][splice]") {
  const Channel from;
  const Channel to;
  SplicePipe pipe;
  from.write("one two three");
  CHECK(pipe.fill(from.out(), 4) == 4);
  CHECK(pipe.drain(to.in()) == 0);
  CHECK(pipe.empty());
  CHECK(pipe.fill(from.out(), 100) == 9);
  CHECK(pipe.drain(to.in()) == 0);
  CHECK(to.read() == "one two three");
  CHECK(pipe.empty());
}

TEST_CASE("splice pipe: bytes that the target does not take are handed out", "[net][splice]") {
  const Channel from;
  const Channel to{4096};
  SplicePipe pipe;
  const auto text = pattern(200'000);
  from.write(text);
  REQUIRE(pipe.fill(from.out(), text.size()) == text.size());
  CHECK(pipe.drain(to.in()) == 0);
  REQUIRE_FALSE(pipe.empty());
  auto received = to.read();
  CHECK(received.size() < text.size());

  std::vector<std::byte> room(10'000);
  while (!pipe.empty()) {
    const auto rest = pipe.take(room);
    REQUIRE_FALSE(rest.empty());
    received.append(reinterpret_cast<const char*>(rest.data()), rest.size());
  }
  CHECK((received == text));  // in brackets, because Catch would print both
  CHECK(pipe.take(room).empty());
  CHECK(pipe.works());
}

TEST_CASE("splice pipe: it is as good as new after a failure", "[net][splice]") {
  const Channel from;
  const Channel to;
  SplicePipe pipe;
  from.write("lost");
  REQUIRE(pipe.fill(from.out(), 4) == 4);
  pipe.discard();
  CHECK(pipe.empty());
  from.write("kept");
  REQUIRE(pipe.fill(from.out(), 4) == 4);
  CHECK(pipe.drain(to.in()) == 0);
  CHECK(to.read() == "kept");
}

TEST_CASE("splice pipe: it gives up for good if the kernel cannot splice", "[net][splice]") {
  const Descriptor no_stream{::epoll_create1(EPOLL_CLOEXEC)};
  const Channel from;
  SplicePipe pipe;
  CHECK(pipe.fill(no_stream.get(), 100) == 0);
  CHECK_FALSE(pipe.works());
  from.write("bytes");
  CHECK(pipe.fill(from.out(), 5) == 0);
  CHECK(from.read() == "bytes");
}

TEST_CASE("splice pipe: no bytes wait, or no descriptor is left: it tries again", "[net][splice]") {
  const Channel from;
  const Channel to;
  rlimit limit{};
  REQUIRE(::getrlimit(RLIMIT_NOFILE, &limit) == 0);
  rlimit none = limit;
  none.rlim_cur = 0;
  SplicePipe pipe;
  from.write("bytes");
  REQUIRE(::setrlimit(RLIMIT_NOFILE, &none) == 0);
  const auto filled = pipe.fill(from.out(), 5);
  REQUIRE(::setrlimit(RLIMIT_NOFILE, &limit) == 0);
  CHECK(filled == 0);
  CHECK(pipe.works());
  CHECK(pipe.fill(from.out(), 5) == 5);
  CHECK(pipe.drain(to.in()) == 0);
  CHECK(pipe.fill(from.out(), 5) == 0);
  CHECK(pipe.works());
  CHECK(to.read() == "bytes");
}
