#include "lib/proto/capability_query.h"

#include <string>
#include <string_view>

#include "lib/proto/protocols.h"
#include "tests/support/catch.h"

using namespace starttls::proto;

namespace {

using Complete = bool (*)(std::string_view);

/// True if the whole reply is complete and no shorter part of it is.
bool ends_there(Complete complete, std::string_view reply) {
  for (std::size_t size = 0; size < reply.size(); ++size) {
    if (complete(reply.substr(0, size))) return false;
  }
  return complete(reply);
}

}  // namespace

TEST_CASE("capability query: an SMTP reply ends with a code that no hyphen follows",
          "[proto][probe]") {
  CHECK(ends_there(is_whole_smtp_reply, "250 mail.test\r\n"));
  CHECK(ends_there(is_whole_smtp_reply, "250-mail.test\r\n250-X-Y Z\r\n250 A-B\r\n"));
  CHECK(ends_there(is_whole_smtp_reply, "502 5.5.1 no - really\r\n"));
  CHECK(ends_there(is_whole_smtp_reply, "250\r\n"));
  CHECK(ends_there(is_whole_smtp_reply, "a-b-c\n"));  // not a valid reply, but complete
  CHECK_FALSE(is_whole_smtp_reply(""));
}

TEST_CASE("capability query: an IMAP reply ends with our tag, or with the server's BYE",
          "[proto][probe]") {
  CHECK(ends_there(is_whole_imap_reply, "* CAPABILITY IMAP4rev1\r\nprobe OK done\r\n"));
  CHECK(ends_there(is_whole_imap_reply, "* probe\r\nprobe BAD what\r\n"));
  CHECK(ends_there(is_whole_imap_reply, "* bye for now\r\n"));
  CHECK_FALSE(is_whole_imap_reply("probed OK\r\n"));
  // Text after the tagged line is not waited for.
  CHECK(is_whole_imap_reply("probe OK done\r\n* OK still here\r\n"));
}

TEST_CASE("capability query: a list that was announced ends with a lone dot", "[proto][probe]") {
  CHECK(ends_there(is_whole_pop3_list, "+OK list\r\nSTLS\r\n..\r\n.\r\n"));
  CHECK(ends_there(is_whole_pop3_list, "-ERR what\r\n"));
  CHECK(ends_there(is_whole_nntp_list, "101 list\r\nVERSION 2\r\n.\r\n"));
  CHECK(ends_there(is_whole_nntp_list, "500 what\r\n"));
}

TEST_CASE("capability query: every protocol has a query, or a greeting with the capabilities",
          "[proto][probe][table]") {
  for (const auto& protocol : protocols()) {
    CAPTURE(protocol.name);
    const auto& query = protocol.capabilities;
    CHECK_FALSE(query.goodbye.empty());
    CHECK(query.command.empty() == (query.complete == nullptr));
    CHECK(query.command.find_first_of("\r\n") == std::string_view::npos);
    CHECK(query.goodbye.find_first_of("\r\n") == std::string_view::npos);
  }
}
