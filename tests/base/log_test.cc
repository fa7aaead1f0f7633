#include "lib/base/log.h"

#include <string>
#include <utility>

#include "tests/support/catch.h"

using namespace starttls;
using log::Field;
using log::Format;
using log::Level;

namespace {
std::string line(Format format, std::initializer_list<Field> fields) {
  return log::format_line(format, "T", Level::info, "session",
                          std::span<const Field>{fields.begin(), fields.size()});
}
}  // namespace

TEST_CASE("log: a line for the journal has a priority and no time", "[base]") {
  const std::pair<Level, std::string> levels[] = {{Level::error, "<3>level=error"},
                                                  {Level::warn, "<4>level=warn"},
                                                  {Level::info, "<6>level=info"},
                                                  {Level::debug, "<7>level=debug"}};
  for (const auto& [level, beginning] : levels) {
    const Field fields[] = {{"reason", "a b"}};
    CHECK(log::format_journal_line(level, "not reloaded", fields) ==
          beginning + " msg=\"not reloaded\" reason=\"a b\"\n");
  }
}

TEST_CASE("log: text lines are key=value, quoted if needed", "[base]") {
  CHECK(line(Format::text, {{"service", "office"},
                            {"bytes", std::uint64_t{12}},
                            {"ms", 1.5},
                            {"ok", true},
                            {"reason", "a b"},
                            {"empty", ""}}) ==
        "T level=info msg=session service=office bytes=12 ms=1.500 ok=true reason=\"a b\" "
        "empty=\"\"\n");
}

TEST_CASE("log: a value cannot end its line, its quotes or its object", "[base][security]") {
  const std::string evil = "x\" level=error\r\nforged=1\x1b[0m";
  const std::string text = line(Format::text, {{"evidence", evil}});
  CHECK(text.find('\n') == text.size() - 1);
  CHECK(text == "T level=info msg=session evidence=\"x\\\" level=error\\r\\nforged=1\\x1b[0m\"\n");
  CHECK(line(Format::json, {{"evidence", evil}}) ==
        "{\"time\":\"T\",\"level\":\"info\",\"msg\":\"session\",\"evidence\":\"x\\\" "
        "level=error\\u000d\\u000aforged=1\\u001b[0m\"}\n");
  CHECK(line(Format::text, {{"evidence", "trailing\\"}}) ==
        "T level=info msg=session evidence=\"trailing\\\\\"\n");
}

TEST_CASE("log: a long value is cut", "[base]") {
  const std::string text = line(Format::text, {{"evidence", std::string(100'000, 'x')}});
  CHECK(text.size() < 1200);
}
