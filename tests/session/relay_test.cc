#include "lib/session/relay.h"

#include <string>
#include <string_view>

#include "tests/session/fake_endpoint.h"
#include "tests/support/catch.h"

using namespace starttls::session;
using starttls::test::FakeEndpoint;

namespace {

std::span<const std::byte> bytes(std::string_view text) {
  return std::as_bytes(std::span{text.data(), text.size()});
}

}  // namespace

TEST_CASE("pipe: bytes that are read are written unchanged", "[session][relay]") {
  FakeEndpoint from;
  FakeEndpoint to;
  Pipe pipe{from, to};
  const std::string_view all{"a\0b\r\n.\r\n\xff", 9};
  pipe.on_data(bytes(all.substr(0, 4)));
  pipe.on_data(bytes(all.substr(4)));
  CHECK(to.written == all);
  CHECK(pipe.inside_line());
  CHECK(from.pauses == 0);
}

TEST_CASE("pipe: a slow reader stops reading on the other side until all is written",
          "[session][relay]") {
  FakeEndpoint from;
  FakeEndpoint to;
  Pipe pipe{from, to};
  to.stalled = true;
  pipe.on_data(bytes("one"));
  pipe.on_data(bytes("two"));  // had already been read in this turn
  CHECK(from.pauses == 1);
  CHECK(from.resumes == 0);
  to.waiting = 0;
  pipe.on_drained();
  pipe.on_drained();
  CHECK(from.resumes == 1);
}

TEST_CASE("pipe: it starts paused if bytes already wait", "[session][relay]") {
  FakeEndpoint from;
  FakeEndpoint to;
  Pipe pipe{from, to};
  to.stalled = true;
  pipe.on_data(bytes("early"));
  from.resume_reading();  // by other code
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

TEST_CASE("pipe: an end is passed on once, and nothing after it", "[session][relay]") {
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

TEST_CASE("pipe: bytes for a broken target are dropped until the source ends", "[session][relay]") {
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

TEST_CASE("pipe: it knows if a cut would fall inside a line", "[session][relay][L11]") {
  FakeEndpoint from;
  FakeEndpoint to;
  Pipe pipe{from, to};
  CHECK_FALSE(pipe.inside_line());
  pipe.on_data(bytes("221 bye\r"));
  CHECK(pipe.inside_line());
  pipe.on_data(bytes("\n"));
  CHECK_FALSE(pipe.inside_line());
}

TEST_CASE("pipe: after bytes that passed unseen, a line counts as begun", "[session][relay]") {
  FakeEndpoint from;
  FakeEndpoint to;
  Pipe pipe{from, to};
  pipe.on_data(bytes("a line\r\n"));
  pipe.on_passed_unseen();
  CHECK(pipe.inside_line());
  pipe.on_data(bytes("\r\n"));
  CHECK_FALSE(pipe.inside_line());
}

TEST_CASE("pipe: no bytes may pass unseen before earlier ones, or after the end",
          "[session][relay]") {
  FakeEndpoint from;
  FakeEndpoint to;
  Pipe pipe{from, to};
  CHECK(pipe.is_free());
  to.waiting = 1;  // written by other code
  CHECK_FALSE(pipe.is_free());
  pipe.on_data(bytes("more"));
  to.waiting = 0;
  CHECK_FALSE(pipe.is_free());  // still paused
  pipe.on_drained();
  CHECK(pipe.is_free());
  pipe.on_end();
  CHECK_FALSE(pipe.is_free());

  Pipe broken{from, to};
  broken.on_broken();
  CHECK_FALSE(broken.is_free());
}

TEST_CASE("pipe: a slow reader of unseen bytes stops reading on the other side too",
          "[session][relay]") {
  FakeEndpoint from;
  FakeEndpoint to;
  Pipe pipe{from, to};
  pipe.on_passed_unseen();
  CHECK(from.pauses == 0);
  to.waiting = 1000;
  pipe.on_passed_unseen();
  CHECK(from.pauses == 1);
  to.waiting = 0;
  pipe.on_drained();
  CHECK(from.resumes == 1);
}

TEST_CASE("relay: each direction has its own pipe, and both must end", "[session][relay]") {
  FakeEndpoint client;
  FakeEndpoint server;
  Relay relay{client, server};
  relay.from(starttls::Side::downstream).on_data(bytes("question"));
  relay.from(starttls::Side::upstream).on_data(bytes("answer"));
  CHECK(server.written == "question");
  CHECK(client.written == "answer");
  CHECK(&relay.to(starttls::Side::upstream) == &relay.from(starttls::Side::downstream));
  relay.from(starttls::Side::upstream).on_end();
  CHECK(relay.server_has_ended());
  CHECK_FALSE(relay.finished());
  CHECK(client.ends == 1);
  relay.from(starttls::Side::downstream).on_end();
  CHECK(relay.finished());
}
