#include "proxy/probe/recording_role.h"

#include <string>
#include <string_view>

#include "lib/proto/lines.h"
#include "lib/proto/protocols.h"
#include "tests/support/catch.h"
#include "tests/support/dialogue.h"
#include "tests/support/roles.h"

using namespace starttls;
using proto::Verdict;

namespace {

/// A recorded dialogue with the role of a protocol.
struct Recorded {
  Recorded(std::string_view name, TlsMode mode)
      : dialogue([this, &protocol = *proto::find_protocol(name), mode] {
          return std::make_unique<RecordingRole>(protocol.upstream(test::upstream(mode)),
                                                 protocol.capabilities, "proxy.example", heard);
        }) {}

  Heard heard;
  test::UpstreamDialogue dialogue;
};

constexpr std::string_view kPop3List = "+OK\r\nUIDL\r\nSTLS\r\n.\r\n";
constexpr std::string_view kSmtpList = "250-mx\r\n250 STARTTLS\r\n";
constexpr std::string_view kSieveList =
    "\"IMPLEMENTATION\" \"x\"\r\n\"STARTTLS\"\r\nOK \"hello\"\r\n";

}  // namespace

TEST_CASE("recording role: it asks for the list before STARTTLS if the role does not", "[probe]") {
  Recorded it("pop3", TlsMode::starttls);
  auto& d = it.dialogue;
  d.peer("+OK hello\r\n").sends("CAPA\r\n");
  CHECK(d.state() == "capabilities");
  CHECK(it.heard.greeting == "+OK hello\r\n");
  d.peer(kPop3List).sends("STLS\r\n");
  CHECK(d.state() == "starttls");
  CHECK(it.heard.capabilities == kPop3List);
  d.peer("+OK go\r\n").sends("");
  CHECK(d.verdict() == Verdict::start_tls);
  d.secured().sends("");
  CHECK(d.verdict() == Verdict::greeted);
  CHECK(d.greeting() == "+OK hello\r\n");
  CHECK(it.heard.greeting == "+OK hello\r\n");
  CHECK(it.heard.capabilities == kPop3List);
}

TEST_CASE("recording role: the question is that of the protocol", "[probe]") {
  Recorded imap("imap", TlsMode::starttls);
  const std::string list = "* CAPABILITY IMAP4rev1 STARTTLS\r\nprobe OK done\r\n";
  imap.dialogue.peer("* OK hello\r\n").sends("probe CAPABILITY\r\n");
  imap.dialogue.peer(list).sends("R4nd STARTTLS\r\n");
  CHECK(imap.heard.capabilities == list);

  Recorded nntp("nntp", TlsMode::opportunistic);
  nntp.dialogue.peer("200 hello\r\n").sends("CAPABILITIES\r\n");
  nntp.dialogue.peer("500 unknown\r\n").sends("STARTTLS\r\n");
  CHECK(nntp.heard.capabilities == "500 unknown\r\n");
}

TEST_CASE("recording role: it keeps the list that the role asks for, and does not ask again",
          "[probe]") {
  Recorded it("smtp", TlsMode::starttls);
  it.dialogue.peer("220-mx\r\n220 hello\r\n").sends("EHLO proxy.example\r\n");
  it.dialogue.peer(kSmtpList).sends("STARTTLS\r\n");
  it.dialogue.peer("220 go\r\n").sends("");
  CHECK(it.dialogue.verdict() == Verdict::start_tls);
  CHECK(it.heard.greeting == "220-mx\r\n220 hello\r\n");
  CHECK(it.heard.capabilities == kSmtpList);
}

TEST_CASE("recording role: it asks nothing if the greeting is the list", "[probe]") {
  Recorded it("sieve", TlsMode::starttls);
  it.dialogue.peer(kSieveList).sends("STARTTLS\r\n");
  CHECK(it.heard.greeting == kSieveList);
  CHECK(it.heard.capabilities.empty());
}

TEST_CASE("recording role: a leg that does not upgrade is only greeted", "[probe]") {
  for (const auto mode : {TlsMode::none, TlsMode::implicit}) {
    Recorded it("pop3", mode);
    it.dialogue.peer("+OK hello\r\n").sends("");
    CHECK(it.dialogue.verdict() == Verdict::greeted);
    CHECK(it.heard.greeting == "+OK hello\r\n");
    CHECK(it.heard.capabilities.empty());
  }
}

TEST_CASE("recording role: nothing is recorded after STARTTLS, and silence is passed on",
          "[probe]") {
  Recorded it("sieve", TlsMode::starttls);
  auto& d = it.dialogue;
  d.peer(kSieveList).sends("STARTTLS\r\n");
  d.peer("OK\r\n").secured().quiet().sends("CAPABILITY\r\nNOOP\r\n");
  d.peer("\"IMPLEMENTATION\" \"y\"\r\nOK\r\nOK\r\n").sends("");
  CHECK(d.verdict() == Verdict::greeted);
  CHECK(d.greeting() == "\"IMPLEMENTATION\" \"y\"\r\nOK\r\n");
  CHECK(it.heard.greeting == kSieveList);
}

TEST_CASE("recording role: it keeps a refusal, and the list of a server without STARTTLS",
          "[probe]") {
  Recorded refused("smtp", TlsMode::starttls);
  refused.dialogue.peer("554 go away\r\n");
  CHECK(refused.dialogue.error().code == Errc::greeting_refused);
  CHECK(refused.heard.greeting == "554 go away\r\n");

  Recorded without("smtp", TlsMode::starttls);
  without.dialogue.peer("220 hello\r\n").sends("EHLO proxy.example\r\n").peer("250 mx\r\n");
  CHECK(without.dialogue.error().code == Errc::tls_not_offered);
  CHECK(without.heard.capabilities == "250 mx\r\n");
}

TEST_CASE("recording role: it passes on why the leg stays in the clear", "[probe]") {
  Recorded it("smtp", TlsMode::opportunistic);
  it.dialogue.peer("220 hello\r\n").sends("EHLO proxy.example\r\n").peer("250 mx\r\n");
  CHECK(it.dialogue.verdict() == Verdict::greeted);
  CHECK_FALSE(it.dialogue.fallback_reason().empty());
  CHECK(it.heard.capabilities == "250 mx\r\n");
}

TEST_CASE("recording role: the answer to its question has a limit", "[probe]") {
  Recorded it("pop3", TlsMode::starttls);
  it.dialogue.peer("+OK hello\r\n").sends("CAPA\r\n");
  it.dialogue.peer("+OK\r\n" + std::string(proto::kMaxReply - 6, 'x'));
  CHECK_FALSE(it.dialogue.failed());
  it.dialogue.peer("x");
  CHECK(it.dialogue.error().reason == "server sent a reply that is too long");
}

TEST_CASE("recording role: bytes after the go-ahead stay unread for the leg to refuse",
          "[probe][security]") {
  Recorded it("pop3", TlsMode::starttls);
  it.dialogue.peer("+OK hello\r\n").sends("CAPA\r\n").peer(kPop3List).sends("STLS\r\n");
  it.dialogue.peer("+OK go\r\n+OK early\r\n");
  CHECK(it.dialogue.verdict() == Verdict::start_tls);
  CHECK(it.dialogue.unread() == "+OK early\r\n");
}
