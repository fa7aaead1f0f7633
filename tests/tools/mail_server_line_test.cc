// Tests of POP3 and NNTP in tools/mail_server. Their commands are lines, and their messages end in
// a dot. SMTP does the same; its tests are in mail_server_test.cc.

#include <string>

#include "tests/support/catch.h"
#include "tests/support/talk.h"
#include "tools/mail_server/protocol.h"

using namespace starttls::bench;

namespace {

void put(const Mailbox& mailbox, std::string_view content) {
  const auto message = mailbox.begin();
  message->write(content);
  REQUIRE(message->commit());
}

}  // namespace

TEST_CASE("backend pop3: messages are listed, fetched with their dots, and removed at QUIT",
          "[bench]") {
  TemporaryFolder folder;
  const Mailbox mailbox{folder.path};
  put(mailbox, "A: b\r\n\r\n.\r\n..c\r\n");
  put(mailbox, "no end");
  const std::string input =
      "USER u\r\nPASS p\r\nSTAT\r\nLIST\r\nUIDL 2\r\nRETR 1\r\nRETR 2\r\nDELE 1\r\nRETR 1\r\n"
      "LIST\r\nRSET\r\nLIST 1\r\nDELE 2\r\nSTAT\r\nRETR 3\r\nRETR 0\r\nRETR x\r\n";
  const std::string wanted =
      "+OK and the password\r\n+OK welcome\r\n+OK 2 22\r\n+OK list\r\n1 16\r\n2 6\r\n.\r\n"
      "+OK 2 2\r\n+OK 16 bytes\r\nA: b\r\n\r\n..\r\n...c\r\n.\r\n+OK 6 bytes\r\nno end\r\n.\r\n"
      "+OK deleted\r\n-ERR no such message\r\n+OK list\r\n2 6\r\n.\r\n+OK\r\n+OK 1 16\r\n"
      "+OK deleted\r\n+OK 1 16\r\n"
      "-ERR no such message\r\n-ERR no such message\r\n-ERR no such message\r\n";
  Talk lost{make_pop3(Tls::none, mailbox)};
  CHECK(lost.spell(input) == wanted);
  CHECK(mailbox.messages().size() == 2);  // there was no QUIT

  Talk talk{make_pop3(Tls::none, mailbox)};
  CHECK(talk.say(input + "QUIT\r\n") == wanted + "+OK bye\r\n");
  CHECK(talk.step.want == Want::close);
  CHECK(mailbox.messages().size() == 1);
}

TEST_CASE("backend pop3: a client logs in by each mechanism, and only once", "[bench]") {
  const Mailbox mailbox{""};
  const auto login = [&mailbox](std::string_view input) {
    return Talk{make_pop3(Tls::none, mailbox)}.say(input);
  };
  CHECK(login("AUTH PLAIN\r\nAGEAYg==\r\nSTAT\r\n") == "+ \r\n+OK welcome\r\n+OK 0 0\r\n");
  CHECK(login("AUTH PLAIN AGEAYg==\r\n") == "+OK welcome\r\n");
  CHECK(login("AUTH LOGIN\r\nYQ==\r\nYg==\r\n") ==
        "+ VXNlcm5hbWU6\r\n+ UGFzc3dvcmQ6\r\n+OK welcome\r\n");
  CHECK(login("AUTH LOGIN\r\n*\r\n") == "+ VXNlcm5hbWU6\r\n-ERR cancelled\r\n");
  CHECK(login("PASS p\r\nAUTH X\r\nSTAT\r\nFOO\r\n") ==
        "-ERR USER first\r\n-ERR PLAIN or LOGIN\r\n-ERR log in first\r\n-ERR unknown command\r\n");
  CHECK(login("USER u\r\nPASS p\r\nUSER u\r\n").ends_with("-ERR logged in already\r\n"));
}

TEST_CASE("backend pop3: no login is offered before TLS if TLS is required", "[bench][security]") {
  const Mailbox mailbox{""};
  Talk talk{make_pop3(Tls::required, mailbox)};
  CHECK(talk.say("CAPA\r\n") == "+OK list\r\nPIPELINING\r\nUIDL\r\nSTLS\r\n.\r\n");
  talk.secure();
  CHECK(talk.say("CAPA\r\n") ==
        "+OK list\r\nPIPELINING\r\nUIDL\r\nUSER\r\nSASL PLAIN LOGIN\r\n.\r\n");
}

TEST_CASE("backend pop3: a user name sent before TLS is forgotten", "[bench][security]") {
  const Mailbox mailbox{""};
  Talk talk{make_pop3(Tls::offered, mailbox)};
  talk.say("USER u\r\nSTLS\r\n");
  talk.secure();
  CHECK(talk.say("PASS p\r\n") == "-ERR USER first\r\n");
}

TEST_CASE("backend nntp: an article is posted and fetched with its dots", "[bench]") {
  const std::string input =
      "MODE READER\r\nPOST\r\nSubject: a\r\n\r\n..\r\n...b\r\n.\r\nGROUP any.group\r\n"
      "ARTICLE 1\r\nHEAD\r\nBODY <1@backend.test>\r\nSTAT\r\nARTICLE 2\r\nARTICLE <2@x>\r\n"
      "LIST\r\nQUIT\r\n";
  const std::string wanted =
      "200 reading and posting\r\n340 go ahead\r\n240 22 bytes stored as 000001.eml\r\n"
      "211 1 1 1 any.group\r\n"
      "220 1 <1@backend.test>\r\nSubject: a\r\n\r\n..\r\n...b\r\n.\r\n"
      "221 1 <1@backend.test>\r\nSubject: a\r\n.\r\n"
      "222 0 <1@backend.test>\r\n..\r\n...b\r\n.\r\n"
      "223 1 <1@backend.test>\r\n423 no such article\r\n430 no such article\r\n"
      "215 list\r\nbackend.test 1 1 y\r\n.\r\n205 bye\r\n";
  {
    TemporaryFolder folder;
    const Mailbox mailbox{folder.path};
    Talk talk{make_nntp(Tls::none, mailbox)};
    CHECK(talk.say(input) == wanted);
    CHECK(talk.step.want == Want::close);
  }
  TemporaryFolder folder;
  const Mailbox mailbox{folder.path};
  Talk talk{make_nntp(Tls::none, mailbox)};
  CHECK(talk.spell(input) == wanted);
}

TEST_CASE("backend nntp: a client logs in by each mechanism, and STARTTLS is gone afterwards",
          "[bench][security]") {
  const Mailbox mailbox{""};
  const auto login = [&mailbox](std::string_view input) {
    return Talk{make_nntp(Tls::offered, mailbox)}.say(input);
  };
  CHECK(login("AUTHINFO USER u\r\nAUTHINFO PASS p\r\nSTARTTLS\r\nAUTHINFO USER u\r\n") ==
        "381 and the password\r\n281 welcome\r\n502 no STARTTLS here\r\n502 logged in already\r\n");
  CHECK(login("AUTHINFO SASL PLAIN\r\nAGEAYg==\r\n") == "383 =\r\n281 welcome\r\n");
  CHECK(login("AUTHINFO SASL PLAIN AGEAYg==\r\nCAPABILITIES\r\n") ==
        "281 welcome\r\n101 list\r\nVERSION 2\r\nREADER\r\nPOST\r\nLIST ACTIVE\r\n.\r\n");
  CHECK(login("AUTHINFO SASL LOGIN\r\nYQ==\r\n*\r\n") ==
        "383 VXNlcm5hbWU6\r\n383 UGFzc3dvcmQ6\r\n481 cancelled\r\n");
  CHECK(
      login("AUTHINFO PASS p\r\nAUTHINFO SASL X\r\nAUTHINFO\r\nFOO\r\n") ==
      "482 USER first\r\n503 PLAIN or LOGIN\r\n501 AUTHINFO USER name\r\n500 unknown command\r\n");
}

TEST_CASE("backend nntp: an empty group has no article", "[bench]") {
  const Mailbox mailbox{""};
  Talk talk{make_nntp(Tls::none, mailbox)};
  CHECK(talk.say("ARTICLE\r\nGROUP a\r\nARTICLE\r\nARTICLE 1\r\n") ==
        "412 GROUP first\r\n211 0 1 0 a\r\n420 the group is empty\r\n423 no such article\r\n");
}
