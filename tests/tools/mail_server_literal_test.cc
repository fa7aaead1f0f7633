// Tests of IMAP and ManageSieve in tools/mail_server. Their commands contain literals.

#include <string>
#include <vector>

#include "tests/support/catch.h"
#include "tests/support/talk.h"
#include "tools/mail_server/arguments.h"
#include "tools/mail_server/protocol.h"

using namespace starttls::bench;
using namespace std::string_literals;

TEST_CASE("arguments: quotes and parentheses keep an argument whole", "[bench]") {
  using Arguments = std::vector<std::string>;
  CHECK(parse_arguments("a  \"b \\\" c\" (d (e) f) \"\"") ==
        Arguments{"a", "b \" c", "(d (e) f)", ""});
  CHECK(parse_arguments("") == Arguments{});
  CHECK_FALSE(parse_arguments("a \"b"));
  CHECK_FALSE(parse_arguments("a (b"));
  CHECK_FALSE(parse_arguments("a)"));
  std::string quoted;
  append_quoted("a\"\\b", quoted);
  CHECK(parse_arguments(quoted) == Arguments{"a\"\\b"});
}

TEST_CASE("backend imap: a message is fetched as it was appended", "[bench]") {
  const std::string input =
      "a LOGIN u p\r\nb SELECT INBOX\r\n"
      "c APPEND INBOX (\\Seen) {9+}\r\na\r\n.\r\n\0)\r\r\n"s
      "d NOOP\r\ne FETCH 1 (UID RFC822.SIZE BODY.PEEK[])\r\n"
      "f UID FETCH 2:* (FLAGS)\r\ng FETCH 2 BODY[]\r\nh LOGOUT\r\n";
  const std::string wanted =
      "a OK [CAPABILITY IMAP4rev1 LITERAL+ ID IDLE UNSELECT] welcome\r\n"
      "* 0 EXISTS\r\n* 0 RECENT\r\n* FLAGS ()\r\n* OK [PERMANENTFLAGS ()] none\r\n"
      "* OK [UIDVALIDITY 1] fixed\r\n* OK [UIDNEXT 1] next\r\nb OK [READ-ONLY] done\r\n"
      "* 1 EXISTS\r\nc OK 9 bytes stored as 000001.eml\r\n"
      "d OK done\r\n"
      "* 1 FETCH (UID 1 RFC822.SIZE 9 BODY[] {9}\r\na\r\n.\r\n\0)\r)\r\ne OK done\r\n"s
      // `2:*` includes the last message though its number is lower (RFC 3501 §6.4.8).
      "* 1 FETCH (UID 1 FLAGS ())\r\nf OK done\r\n"
      "g OK done\r\n"
      "* BYE bye\r\nh OK done\r\n";
  {
    TemporaryFolder folder;
    const Mailbox mailbox{folder.path};
    Talk talk{make_imap(Tls::none, mailbox)};
    CHECK(talk.say(input) == wanted);
    CHECK(talk.step.want == Want::close);
  }
  TemporaryFolder folder;
  const Mailbox mailbox{folder.path};
  Talk talk{make_imap(Tls::none, mailbox)};
  CHECK(talk.spell(input) == wanted);
}

TEST_CASE("backend imap: a literal waits for the go-ahead, unless it is non-synchronizing",
          "[bench]") {
  const Mailbox mailbox{""};
  Talk talk{make_imap(Tls::none, mailbox)};
  CHECK(talk.say("a LOGIN {1}\r\n") == "+ go ahead\r\n");
  CHECK(talk.say("\" {2+}\r\n\\\"\r\n").starts_with("a OK "));
  CHECK(talk.say("b APPEND INBOX {3}\r\n") == "+ go ahead\r\n");
  CHECK(talk.say("abc\r\n") == "b OK 3 bytes discarded\r\n");
  CHECK(talk.say("c APPEND INBOX {0}\r\n") == "+ go ahead\r\n");
  CHECK(talk.say("\r\n") == "c OK 0 bytes discarded, pattern intact\r\n");
  CHECK(talk.say("d APPEND Sent {3}\r\n").starts_with("d NO [TRYCREATE] "));
  CHECK(talk.say("e NOOP\r\n") == "e OK done\r\n");
  CHECK(talk.say("f APPEND INBOX {1+}\r\nxtail\r\n").starts_with("f BAD "));
  CHECK(talk.say("g APPEND INBOX\r\n").starts_with("g BAD "));
  CHECK(talk.say("h APPEND Sent {3+}\r\nabc\r\n").starts_with("* BYE "));
  CHECK(talk.step.want == Want::close);
}

TEST_CASE(
    "backend imap: a literal before TLS, a message before login and a literal that is too long are "
    "refused",
    "[bench][security]") {
  const Mailbox mailbox{""};
  Talk clear{make_imap(Tls::required, mailbox)};
  CHECK(clear.say("a LOGIN {3}\r\n") == "* BYE no literal here\r\n");
  CHECK(clear.step.want == Want::close);
  Talk stranger{make_imap(Tls::none, mailbox)};
  CHECK(stranger.say("a APPEND INBOX {3}\r\n") == "a NO log in first\r\n");
  CHECK(stranger.say("a LOGIN {5000}\r\n") == "* BYE line too long\r\n");
  Talk twice{make_imap(Tls::none, mailbox)};
  twice.say("a LOGIN u p\r\n");
  CHECK(twice.say("a APPEND INBOX {1+}\r\nx {1+}\r\n").ends_with("* BYE line too long\r\n"));
}

TEST_CASE("backend imap: a client logs in by each mechanism", "[bench]") {
  const Mailbox mailbox{""};
  const auto login = [&mailbox](std::string_view input) {
    return Talk{make_imap(Tls::none, mailbox)}.say(input);
  };
  CHECK(login("a AUTHENTICATE PLAIN\r\nAGEAYg==\r\n").starts_with("+ \r\na OK "));
  CHECK(login("a AUTHENTICATE PLAIN AGEAYg==\r\n").starts_with("a OK "));
  CHECK(login("a AUTHENTICATE LOGIN\r\nYQ==\r\nYg==\r\n")
            .starts_with("+ VXNlcm5hbWU6\r\n+ UGFzc3dvcmQ6\r\na OK "));
  CHECK(login("a AUTHENTICATE PLAIN\r\n*\r\nb NOOP\r\n") ==
        "+ \r\na BAD cancelled\r\nb OK done\r\n");
  CHECK(login("a AUTHENTICATE GSSAPI\r\n").starts_with("a NO "));
  CHECK(login("a SELECT INBOX\r\n").starts_with("a BAD "));
}

TEST_CASE("backend imap: IDLE lasts until DONE", "[bench]") {
  const Mailbox mailbox{""};
  Talk talk{make_imap(Tls::none, mailbox)};
  talk.say("a LOGIN u p\r\n");
  CHECK(talk.say("b IDLE\r\n") == "+ idling\r\n");
  CHECK(talk.say("DONE\r\n") == "b OK done\r\n");
  talk.say("c IDLE\r\n");
  CHECK(talk.say("d NOOP\r\n") == "c BAD DONE ends IDLE\r\n");
}

TEST_CASE("backend imap: each error is answered once", "[bench]") {
  const Mailbox mailbox{""};
  Talk talk{make_imap(Tls::none, mailbox)};
  CHECK(talk.say("\r\na\r\na FOO\r\na LOGIN \"u\r\na LOGIN u\r\na LOGIN u p\r\na LOGIN u p\r\n"
                 "a FETCH 1 BODY[]\r\na SELECT Sent\r\n") ==
        "* BAD tag and command\r\n* BAD tag and command\r\na BAD unknown command\r\n"
        "a BAD a quote or a parenthesis is missing\r\na BAD LOGIN user password\r\n"
        "a OK [CAPABILITY IMAP4rev1 LITERAL+ ID IDLE UNSELECT] welcome\r\n"
        "a BAD logged in already\r\na BAD SELECT INBOX first\r\n"
        "a NO [NONEXISTENT] there is only INBOX\r\n");
}

TEST_CASE("backend sieve: a script is stored, listed, made active and fetched unchanged",
          "[bench]") {
  const std::string input =
      "AUTHENTICATE \"PLAIN\" \"AGEAYg==\"\r\n"
      "PUTSCRIPT \"a b\" {7+}\r\nkeep;\r\n\r\n"
      "PUTSCRIPT {3+}\r\ntwo {0+}\r\n\r\n"
      "PUTSCRIPT \"two\" \"stop;\"\r\n"
      "SETACTIVE \"two\"\r\nLISTSCRIPTS\r\nGETSCRIPT \"a b\"\r\nGETSCRIPT \"two\"\r\n"
      "DELETESCRIPT \"two\"\r\nSETACTIVE \"\"\r\nDELETESCRIPT \"two\"\r\nLISTSCRIPTS\r\n"
      "GETSCRIPT \"two\"\r\nSETACTIVE \"two\"\r\nHAVESPACE \"two\" 99\r\nNOOP \"x\"\r\nLOGOUT\r\n";
  const std::string wanted =
      "OK \"welcome\"\r\nOK \"7 bytes stored\"\r\nOK \"0 bytes stored\"\r\n"
      "OK \"5 bytes stored\"\r\nOK \"done\"\r\n"
      "{3}\r\na b\r\n{3}\r\ntwo ACTIVE\r\nOK \"done\"\r\n"
      "{7}\r\nkeep;\r\n\r\nOK \"done\"\r\n{5}\r\nstop;\r\nOK \"done\"\r\n"
      "NO (ACTIVE) \"it is active\"\r\nOK \"none\"\r\nOK \"done\"\r\n"
      "{3}\r\na b\r\nOK \"done\"\r\n"
      "NO (NONEXISTENT) \"no such script\"\r\nNO (NONEXISTENT) \"no such script\"\r\n"
      "OK \"done\"\r\nOK (TAG {1}\r\nx) \"done\"\r\nOK \"bye\"\r\n";
  {
    TemporaryFolder folder;
    const Mailbox mailbox{folder.path};
    Talk talk{make_sieve(Tls::none, mailbox)};
    CHECK(talk.say(input) == wanted);
    CHECK(talk.step.want == Want::close);
  }
  TemporaryFolder folder;
  const Mailbox mailbox{folder.path};
  Talk talk{make_sieve(Tls::none, mailbox)};
  CHECK(talk.spell(input) == wanted);
}

TEST_CASE("backend sieve: the greeting is the list, and it comes again after TLS", "[bench]") {
  const Mailbox mailbox{""};
  Talk talk{make_sieve(Tls::required, mailbox)};
  std::string greeting;
  talk.protocol->greet(greeting);
  CHECK(greeting ==
        "\"IMPLEMENTATION\" \"backend\"\r\n\"SIEVE\" \"fileinto\"\r\n\"SASL\" \"\"\r\n"
        "\"STARTTLS\"\r\n\"VERSION\" \"1.0\"\r\nOK \"backend.test\"\r\n");
  talk.say("STARTTLS\r\n");
  CHECK(talk.secure() ==
        "\"IMPLEMENTATION\" \"backend\"\r\n\"SIEVE\" \"fileinto\"\r\n\"SASL\" \"PLAIN LOGIN\"\r\n"
        "\"VERSION\" \"1.0\"\r\nOK \"backend.test\"\r\n");
}

TEST_CASE("backend sieve: each error is refused, and fatal errors end the connection",
          "[bench][security]") {
  const Mailbox mailbox{""};
  Talk talk{make_sieve(Tls::none, mailbox)};
  CHECK(talk.say("FOO\r\n\r\nNOOP a b\r\nLISTSCRIPTS\r\nAUTHENTICATE \"X\"\r\n") ==
        "NO \"unknown command\"\r\nNO \"a command is missing\"\r\n"
        "NO \"too few or too many arguments\"\r\nNO \"log in first\"\r\nNO \"PLAIN or LOGIN\"\r\n");
  CHECK(talk.say("AUTHENTICATE \"LOGIN\"\r\n\"YQ==\"\r\n{4+}\r\nYg==\r\n") ==
        "\"VXNlcm5hbWU6\"\r\n\"UGFzc3dvcmQ6\"\r\nOK \"welcome\"\r\n");
  CHECK(talk.say("AUTHENTICATE \"PLAIN\"\r\n") == "NO \"logged in already\"\r\n");
  CHECK(talk.say("STARTTLS\r\n").starts_with("NO "));
  CHECK(talk.say("PUTSCRIPT \"../a\" \"x\"\r\n") == "NO \"a name that cannot be kept\"\r\n");
  CHECK(talk.say("PUTSCRIPT \"../a\" {1+}\r\nx\r\n") == "BYE \"a name that cannot be kept\"\r\n");
  CHECK(talk.step.want == Want::close);
  Talk waiting{make_sieve(Tls::none, mailbox)};
  CHECK(waiting.say("NOOP {3}\r\n").starts_with("BYE "));
  Talk clear{make_sieve(Tls::required, mailbox)};
  CHECK(clear.say("NOOP {3+}\r\nabc\r\n").starts_with("BYE "));
}
