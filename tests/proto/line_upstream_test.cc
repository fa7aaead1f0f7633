#include "lib/proto/line_upstream.h"

#include <string>

#include "tests/support/catch.h"
#include "tests/support/roles.h"

using namespace starttls;
using namespace starttls::proto;

namespace {

/// Sends "question" when it reads "ask". It is greeted by "welcome" and starts TLS at "go".
class Probe final : public LineUpstream {
 public:
  explicit Probe(TlsMode mode) : LineUpstream(test::upstream(mode)) {}
  Result<Verdict> begin(std::string&) override { return Verdict::need_more; }
  Result<Verdict> secured(std::string&) override { return Verdict::greeted; }
  std::string_view state() const noexcept override { return "probe"; }

 private:
  Result<Verdict> on_line(const Line& line, std::string& to_server) override {
    if (line.text == "welcome") return Verdict::greeted;
    if (line.text == "go") return Verdict::start_tls;
    if (line.text == "ask") to_server += "question\r\n";
    return Verdict::need_more;
  }
  void on_greeted() override {}
};

}  // namespace

TEST_CASE("line role: the reply limit counts all lines since the role's last command",
          "[proto][line]") {
  const std::string line = std::string(kMaxLine - 2, 'x') + "\r\n";
  std::string out;
  Probe probe{TlsMode::starttls};
  for (std::size_t size = kMaxLine; size <= kMaxReply; size += kMaxLine) {
    REQUIRE(probe.step(line, out).has_value());
  }
  const auto step = probe.step("x\r\n", out);
  REQUIRE(!step);
  CHECK(step.error().code == Errc::protocol);

  Probe other{TlsMode::starttls};
  for (std::size_t size = kMaxLine; size < kMaxReply; size += kMaxLine) {
    REQUIRE(other.step(line, out).has_value());
  }
  REQUIRE(other.step("ask\r\n", out).has_value());
  CHECK(other.step(line, out).has_value());
}

TEST_CASE(
    "B12 line role: an answer that arrives before its question is an attack, even a part of a line",
    "[proto][line][security]") {
  for (const auto* input : {"ask\r\nyes\r\n", "ask\r\ny", "welcome\r\nyes\r\n", "welcome\r\ny"}) {
    std::string out;
    Probe strict{TlsMode::starttls};
    const auto step = strict.step(input, out);
    REQUIRE(!step);
    CHECK(step.error().code == Errc::attack);
    CHECK(step.error().attack == Attack::unsolicited);

    Probe tolerant{TlsMode::none};
    CHECK(tolerant.step(input, out).has_value());
  }
}

TEST_CASE("line role: D16: an empty line after a reply is a mistake, not an attack",
          "[proto][line][security]") {
  for (const auto* input : {"ask\r\n\r\n", "ask\r\n\r", "welcome\r\n\r\nyes\r\n", "ask\r\n\n"}) {
    std::string out;
    Probe strict{TlsMode::starttls};
    const auto step = strict.step(input, out);
    REQUIRE(!step);
    CHECK(step.error().code == Errc::protocol);
    CHECK(step.error().reason == "server sent an empty line");
  }
}

TEST_CASE("line role: bytes after the go-ahead stay unread for the leg to refuse",
          "[proto][line][security]") {
  std::string out;
  Probe probe{TlsMode::starttls};
  const auto step = probe.step("so\r\ngo\r\nevil", out);
  REQUIRE(step);
  CHECK(step->verdict == Verdict::start_tls);
  CHECK(step->consumed == 8);
}
