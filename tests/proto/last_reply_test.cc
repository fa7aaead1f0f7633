#include "lib/proto/last_reply.h"

#include <string>

#include "lib/proto/protocols.h"
#include "tests/support/catch.h"

namespace starttls::proto {
namespace {

unsigned last(std::string_view bytes, bool begins_line = true, std::uint16_t before = 0) {
  return last_smtp_reply(before, bytes, begins_line);
}

TEST_CASE("last reply: only smtp and lmtp have codes for the log", "[proto][log]") {
  for (const auto& row : protocols()) {
    CHECK((row.last_reply != nullptr) == (row.name == "smtp" || row.name == "lmtp"));
  }
}

TEST_CASE("last reply: it is the code of the last line", "[proto][log]") {
  CHECK(last("220 mail.test ESMTP\r\n") == 220);
  CHECK(last("250-mail.test\r\n250-SIZE\r\n250 HELP\r\n") == 250);
  CHECK(last("334 VXNlcm5hbWU6\r\n535 5.7.8 no\r\n") == 535);
  CHECK(last("250\r\n") == 250);
  CHECK(last("250\n") == 250);
  CHECK(last("250-mail.test\r\n550 half a li") == 550);
  CHECK(last("450 busy") == 450);
}

TEST_CASE("last reply: bytes without a reply change nothing", "[proto][log]") {
  for (const auto* const bytes :
       {"", "\r\n", "\n", "25", "250", "2500 x\r\n", "1a0 x\r\n", "+OK\r\n", "150 x\r\n",
        "650 x\r\n", "250x\r\n", "EHLO a.test\r\n", "-250 x\r\n", "\xff\xfe\xfd 250 x\r\n"}) {
    INFO(bytes);
    CHECK(last(bytes) == 0);
    CHECK(last(bytes, true, 354) == 354);
  }
}

TEST_CASE("last reply: the rest of a line is none, and a cut line waits", "[proto][log]") {
  CHECK(last("250 of the text\r\n", false, 354) == 354);
  CHECK(last("the text\r\n250 ok\r\n", false, 354) == 250);
  CHECK(last("250-mail.test\r\n25") == 250);
  CHECK(last("0 ok\r\n", false, 250) == 250);
}

TEST_CASE("last reply: a goodbye does not hide the reply before it", "[proto][log]") {
  CHECK(last("221 bye\r\n") == 221);
  CHECK(last("221 bye\r\n", true, 535) == 535);
  CHECK(last("250 2.0.0 queued\r\n221 2.0.0 bye\r\n", true, 354) == 250);
  CHECK(last("221-so long\r\n221 bye\r\n", true, 550) == 550);
  CHECK(last("250 next\r\n", true, 221) == 250);
}

TEST_CASE("last reply: only the end of many bytes is read", "[proto][log]") {
  const std::string bulk(100'000, 'x');
  CHECK(last(bulk, true, 354) == 354);
  CHECK(last("250 " + bulk, true, 354) == 354);
  CHECK(last(bulk + "\r\n250 ok\r\n") == 250);
  CHECK(last("250 ok\r\n" + std::string(2000, '\n'), true, 354) == 354);
  CHECK(last("250 " + std::string(1020, 'x')) == 250);
  CHECK(last("250 " + std::string(1021, 'x'), true, 354) == 354);
}

}  // namespace
}  // namespace starttls::proto
