#include "lib/session/relay.h"

#include <string>
#include <string_view>

#include "tests/support/catch.h"

using namespace starttls::session;

namespace {

/// An endpoint whose kernel takes only what the test says.
class FakeEndpoint final : public Endpoint {
 public:
  void write(std::span<const std::byte> bytes) override {
    written.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    if (stalled) waiting += bytes.size();
  }
  std::size_t queued() const noexcept override { return waiting; }
  void pause_reading() noexcept override { ++pauses; }
  void resume_reading() override { ++resumes; }
  void end_write() override { ++ends; }

  std::string written;
  std::size_t waiting = 0;
  bool stalled = false;
  int pauses = 0;
  int resumes = 0;
  int ends = 0;
};

std::span<const std::byte> bytes(std::string_view text) {
  return std::as_bytes(std::span{text.data(), text.size()});
}

}  // namespace

TEST_CASE("pipe: what is read is written, unchanged and counted", "[session][relay]") {
  FakeEndpoint from;
  FakeEndpoint to;
  Pipe pipe{from, to};
  const std::string_view all{"a\0b\r\n.\r\n\xff", 9};
  pipe.on_data(bytes(all.substr(0, 4)));
  pipe.on_data(bytes(all.substr(4)));
  CHECK(to.written == all);
  CHECK(pipe.octets() == 9);
  CHECK(from.pauses == 0);
}

TEST_CASE("pipe: a slow reader stops the other side's reading until all is taken",
          "[session][relay]") {
  FakeEndpoint from;
  FakeEndpoint to;
  Pipe pipe{from, to};
  to.stalled = true;
  pipe.on_data(bytes("one"));
  pipe.on_data(bytes("two"));  // what the turn had already read
  CHECK(from.pauses == 1);
  CHECK(from.resumes == 0);
  to.waiting = 0;
  pipe.on_drained();
  pipe.on_drained();
  CHECK(from.resumes == 1);
}

TEST_CASE("pipe: it begins as what waits already wants it", "[session][relay]") {
  FakeEndpoint from;
  FakeEndpoint to;
  Pipe pipe{from, to};
  to.stalled = true;
  pipe.on_data(bytes("early"));
  from.resume_reading();  // by somebody else
  pipe.begin();
  CHECK(from.pauses == 2);
  CHECK(from.resumes == 1);
  to.waiting = 0;
  pipe.on_drained();
  CHECK(from.resumes == 2);

  FakeEndpoint idle;
  Pipe other{idle, to};
  other.begin();
  CHECK(idle.pauses == 0);
  CHECK(idle.resumes == 1);
  other.on_data(bytes("more"));
  CHECK(idle.pauses == 1);
}

TEST_CASE("pipe: an end travels once, and nothing passes behind it", "[session][relay]") {
  FakeEndpoint from;
  FakeEndpoint to;
  Pipe pipe{from, to};
  pipe.on_data(bytes("last\r\n"));
  pipe.on_end();
  pipe.on_end();
  pipe.on_data(bytes("late"));
  CHECK(to.ends == 1);
  CHECK(to.written == "last\r\n");
  CHECK(pipe.finished());
}

TEST_CASE("pipe: a broken target drops what still comes and lets the source run to its end",
          "[session][relay]") {
  FakeEndpoint from;
  FakeEndpoint to;
  Pipe pipe{from, to};
  to.stalled = true;
  pipe.on_data(bytes("one"));
  pipe.on_broken();
  CHECK(pipe.finished());
  CHECK(from.resumes == 1);
  pipe.on_data(bytes("two"));
  pipe.on_end();
  CHECK(to.written == "one");
  CHECK(to.ends == 0);
}

TEST_CASE("pipe: knows whether a cut would fall inside a line", "[session][relay][L11]") {
  FakeEndpoint from;
  FakeEndpoint to;
  Pipe pipe{from, to};
  CHECK_FALSE(pipe.inside_line());
  pipe.on_data(bytes("221 bye\r"));
  CHECK(pipe.inside_line());
  pipe.on_data(bytes("\n"));
  CHECK_FALSE(pipe.inside_line());
}
