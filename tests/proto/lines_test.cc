#include "lib/proto/lines.h"

#include <string>

#include "tests/support/catch.h"

using namespace starttls;
using namespace starttls::proto;

namespace {

constexpr LineRules kStrict{LineEnd::crlf, Errc::protocol};
constexpr LineRules kLenient{LineEnd::crlf_or_lf, Errc::client_protocol};

/// Returns "TEXT|RAW", "-" if the line is incomplete, or "!" and the reason on an error.
std::string first_line(std::string_view input, LineRules rules) {
  const auto line = next_line(input, rules);
  if (!line) {
    CHECK(line.error().code == rules.violation);
    return "!" + line.error().reason;
  }
  if (!line->has_value()) return "-";
  return std::string((*line)->text) + "|" + std::string((*line)->raw);
}

}  // namespace

TEST_CASE("line: CRLF ends it, and the next bytes stay unread", "[proto][line]") {
  CHECK(first_line("220 hi\r\nmore", kStrict) == "220 hi|220 hi\r\n");
  CHECK(first_line("220 hi\r\nmore", kLenient) == "220 hi|220 hi\r\n");
  CHECK(first_line("\r\n", kStrict) == "|\r\n");
}

TEST_CASE("line: an unfinished line is awaited, also with its CR at the end", "[proto][line]") {
  CHECK(first_line("", kStrict) == "-");
  CHECK(first_line("220", kStrict) == "-");
  CHECK(first_line("220 hi\r", kStrict) == "-");
  CHECK(first_line("220 hi\r", kLenient) == "-");
}

TEST_CASE("P5 line: a bare LF is an error on a leg that upgrades", "[proto][line][security]") {
  CHECK(first_line("220 hi\nmore\r\n", kStrict) == "!server sent an LF without CR");
  CHECK(first_line("\n", kStrict) == "!server sent an LF without CR");
  CHECK(line_rules(TlsMode::starttls, Errc::protocol).end == LineEnd::crlf);
  CHECK(line_rules(TlsMode::opportunistic, Errc::protocol).end == LineEnd::crlf);
}

TEST_CASE("P5 line: a bare LF ends it on a leg that does not upgrade", "[proto][line]") {
  CHECK(first_line("EHLO a\nMAIL", kLenient) == "EHLO a|EHLO a\n");
  CHECK(first_line("\n", kLenient) == "|\n");
  CHECK(line_rules(TlsMode::none, Errc::protocol).end == LineEnd::crlf_or_lf);
  CHECK(line_rules(TlsMode::implicit, Errc::protocol).end == LineEnd::crlf_or_lf);
}

TEST_CASE("P6 line: a NUL is an error, finished or not", "[proto][line][security]") {
  using namespace std::string_view_literals;
  for (const auto rules : {kStrict, kLenient}) {
    for (const auto input : {"a\0b\r\n"sv, "a\0"sv, "\0"sv, "STARTTLS\0\r\n"sv}) {
      CHECK(first_line(input, rules).find("sent a NUL") != std::string::npos);
    }
  }
}

TEST_CASE("P7 line: a CR outside a CRLF is an error", "[proto][line][security]") {
  for (const auto rules : {kStrict, kLenient}) {
    for (const auto* input : {"22\r0 ok\r\n", "STAR\rTTLS\r\n", "220 ok\r\r\n", "\rx"}) {
      CHECK(first_line(input, rules).find("sent a CR without LF") != std::string::npos);
    }
  }
}

TEST_CASE("P8 line: the limit includes the line's end and applies to unfinished lines",
          "[proto][line]") {
  const std::string longest(kMaxLine - 2, 'x');
  CHECK(first_line(longest + "\r\n", kStrict) == longest + "|" + longest + "\r\n");
  CHECK(first_line(longest + "\r", kStrict) == "-");
  CHECK(first_line(longest + "x\r\n", kStrict) == "!server sent a line that is too long");
  CHECK(first_line(longest + "xx", kStrict) == "!server sent a line that is too long");
  CHECK(first_line(std::string(1 << 20, 'x'), kLenient) == "!client sent a line that is too long");
}

TEST_CASE("line: D9: a line is too long if it breaks no other rule before the limit",
          "[proto][line]") {
  using namespace std::string_view_literals;
  const auto filled = [](std::string_view head, std::string_view tail) {
    return std::string(head) + std::string(kMaxLine - head.size() - tail.size(), 'x') +
           std::string(tail);
  };
  for (const auto rules : {kStrict, kLenient}) {
    for (const auto& line : {filled("AUTH ", ""), filled("AUTH ", "\r"), filled("AUTH ", "\0"sv),
                             filled("AUTH ", "") + "\r\n", std::string(1 << 20, 'x')}) {
      CHECK(is_too_long(line, rules));
      CHECK(first_line(line, rules).ends_with("sent a line that is too long"));
    }
    for (const auto& line : {filled("AUTH ", "\r\n"), filled("A\r\n", ""), filled("A\0"sv, ""),
                             filled("A\rx", ""), filled("A", "\rx"), filled("", "").substr(1)}) {
      CHECK(!is_too_long(line, rules));
    }
  }
}

TEST_CASE("line: the evidence is the received text, and absent if it may hold a client's password",
          "[proto][line][security]") {
  CHECK(next_line("220 \x1b[31m\n", kStrict).error().evidence == "220 \x1b[31m\n");
  CHECK(next_line("AUTH PLAIN c2Vj\rcmV0\r\n", kLenient).error().evidence.empty());
}
