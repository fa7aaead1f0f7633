// The lists of servers, and the logins that protocols had before SASL.

#include <string>

#include "tests/proto/login/login_dialogue.h"

using namespace starttls;
using namespace starttls::proto;
using namespace starttls::test;
using Catch::Matchers::ContainsSubstring;

// ---------------------------------------------------------------- the list

TEST_CASE("LP8 login list: SMTP servers list mechanisms after AUTH and after AUTH=",
          "[proto][login]") {
  for (const auto* line : {"AUTH LOGIN PLAIN", "AUTH=LOGIN PLAIN", "auth=PLAIN", "Auth  plain"}) {
    LoginDialogue d{login::kSmtp, password()};
    d.sends("EHLO R4nd\r\n");
    d.peer("250-mx AUTH XOAUTH2\r\n250-SIZE 1\r\n250-" + std::string(line) + "\r\n250 HELP\r\n");
    d.sends("AUTH PLAIN AGFubgBzZXNhbWU=\r\n").peer("235 ok\r\n");
    CHECK(d.succeeded());
  }
  LoginDialogue lmtp{login::kLmtp, password()};
  lmtp.sends("LHLO R4nd\r\n").peer("250-mx\r\n250-AUTH LOGIN\r\n250 AUTH=LOGIN\r\n");
  lmtp.sends("AUTH LOGIN\r\n");
  // The first line is the server's name.
  for (const auto* list :
       {"250 AUTH PLAIN\r\n", "250-mx\r\n250-AUTHX PLAIN\r\n250 X-EXPS PLAIN\r\n",
        "250-AUTH PLAIN\r\n250 AUTH\r\n", "250-mx\r\n250 AUTH=\r\n", "502 no\r\n", "250\r\n"}) {
    LoginDialogue d{login::kSmtp, password()};
    d.sends("EHLO R4nd\r\n").peer(list).sends("");
    CHECK(d.not_offered());
    CHECK(d.failure() == "login: login_not_offered: the server lists no mechanism|");
  }
  LoginDialogue busy{login::kSmtp, password()};
  busy.peer("421 later\r\n");
  CHECK(busy.gone());
  LoginDialogue odd{login::kSmtp, password()};
  odd.peer("235 ok\r\n");
  CHECK(odd.error().code == Errc::protocol);
}

TEST_CASE("login list: an IMAP server is asked with a tag of its own", "[proto][login]") {
  LoginDialogue d{login::kImap, password()};
  d.sends("R4nd1 CAPABILITY\r\n");
  d.peer("* OK hello\r\n* CAPABILITY IMAP4rev1 SASL-IR AUTH=PLAIN AUTH=XOAUTH2\r\nR4nd1 OK x\r\n");
  d.sends("R4nd2 AUTHENTICATE PLAIN AGFubgBzZXNhbWU=\r\n").peer("R4nd2 OK in\r\n");
  CHECK(d.reply() == "OK|in|* OK hello\r\n");

  for (const auto* early : {"R4nd2 OK in\r\n", "R4nd2 NO no\r\n"}) {
    LoginDialogue attacked{login::kImap, password()};
    attacked.peer(early).sends("R4nd1 CAPABILITY\r\n");
    CHECK(attacked.error().attack == Attack::unsolicited);
    LoginDialogue late{login::kImap, password()};
    late.peer("* CAPABILITY IMAP4rev1 AUTH=PLAIN\r\nR4nd1 OK x\r\n" + std::string(early));
    CHECK(late.error().attack == Attack::unsolicited);
  }
  LoginDialogue more{login::kImap, password()};
  more.peer("+ go\r\n");
  CHECK(more.error().code == Errc::protocol);
}

TEST_CASE("login list: POP3, ManageSieve and NNTP", "[proto][login]") {
  LoginDialogue pop3{login::kPop3, password()};
  pop3.sends("CAPA\r\n").peer("+OK list\r\nTOP\r\nSASL LOGIN PLAIN\r\n+OK no status\r\n.\r\n");
  pop3.sends("AUTH PLAIN\r\n").peer("+ \r\n").sends("AGFubgBzZXNhbWU=\r\n").peer("+OK in\r\n");
  CHECK(pop3.succeeded());

  LoginDialogue sieve{login::kSieve, password()};
  sieve.sends("CAPABILITY\r\n");
  sieve.peer("\"IMPLEMENTATION\" \"x\"\r\n{4}\r\nSASL \"PLAIN\"\r\n\"STARTTLS\"\r\nOK\r\n");
  sieve.sends("AUTHENTICATE \"PLAIN\"\r\n").peer("\"\"\r\n").sends("\"AGFubgBzZXNhbWU=\"\r\n");
  sieve.peer("OK (SASL \"cnNwYXV0aA==\") \"in\"\r\n\"SIEVE\"");
  CHECK(sieve.reply() == "OK|in|");  // the message of the mechanism is for us
  CHECK(sieve.unread() == "\"SIEVE\"");
  LoginDialogue none{login::kSieve, password()};
  none.peer("\"SASL\" \"\"\r\n\"SASL\"\r\nOK\r\n").sends("CAPABILITY\r\n");
  CHECK(none.not_offered());
  LoginDialogue refuses{login::kSieve, password()};
  refuses.peer("NO {3}\r\na\nb\r\n").sends("CAPABILITY\r\n");
  CHECK(refuses.not_offered());

  LoginDialogue nntp{login::kNntp, password()};
  nntp.sends("CAPABILITIES\r\n");
  nntp.peer("101 list\r\nVERSION 2\r\nAUTHINFO SASL USER\r\nSASL PLAIN\r\n.\r\n");
  nntp.sends("AUTHINFO SASL PLAIN\r\n").peer("383 =\r\n").sends("AGFubgBzZXNhbWU=\r\n");
  nntp.peer("283 =\r\n");
  CHECK(nntp.succeeded());
}

TEST_CASE("P8 login list: a list is held to 64 KiB", "[proto][login][security]") {
  const std::string line = std::string(4000, 'x') + "\r\n";
  std::string pop3 = "+OK\r\n", nntp = "101\r\n", sieve;
  while (pop3.size() <= kMaxReply) pop3 += line;
  while (nntp.size() <= kMaxReply) nntp += line;
  while (sieve.size() <= kMaxReply) sieve += "\"X\" \"" + std::string(4000, 'x') + "\"\r\n";
  for (const auto& [dialect, words] :
       {std::pair{&login::kPop3, &pop3}, std::pair{&login::kNntp, &nntp},
        std::pair{&login::kSieve, &sieve}}) {
    LoginDialogue d{*dialect, password()};
    CHECK(d.peer(*words).error().code == Errc::protocol);
  }
}

// ---------------------------------------------------------------- the protocol's own login

TEST_CASE("login native: it is the third choice, and never for a token", "[proto][login]") {
  for (const auto* dialect : {&login::kImap, &login::kPop3, &login::kNntp}) {
    LoginDialogue third{*dialect, password(), listing({"LOGIN"}, true)};
    third.peer("x");
    LoginDialogue none{*dialect, password(), listing({"CRAM-MD5"}, false)};
    CHECK(none.not_offered());
    LoginDialogue with_token{*dialect, token(), listing({}, true)};
    CHECK(with_token.not_offered());
  }
  for (const auto* dialect : {&login::kSmtp, &login::kLmtp, &login::kSieve}) {
    LoginDialogue d{*dialect, password(), listing({}, true)};
    CHECK(d.not_offered());
  }
}

TEST_CASE("login native: POP3 servers without CAPA, and those that list USER", "[proto][login]") {
  for (const auto* list :
       {"-ERR what?\r\n", "+OK\r\nUSER\r\n.\r\n", "+OK\r\nuser\r\nSASL X\r\n.\r\n"}) {
    LoginDialogue d{login::kPop3, password(" pass word ")};
    d.sends("CAPA\r\n").peer(list).sends("USER ann\r\n").peer("+OK\r\n");
    d.sends("PASS  pass word \r\n").peer("+OK 2 messages\r\n");
    CHECK(d.succeeded());
    CHECK(d.reply() == "+OK|2 messages|");
  }
  LoginDialogue locked{login::kPop3, password()};
  locked.peer("+OK\r\nTOP\r\n.\r\n").sends("CAPA\r\n");
  CHECK(locked.not_offered());

  LoginDialogue name{login::kPop3, password(), listing({}, true)};
  name.sends("USER ann\r\n").peer("-ERR [AUTH] no\r\n").sends("");
  CHECK_THAT(name.failure(), ContainsSubstring("server refused the login: -ERR [AUTH]|"));
  LoginDialogue secret{login::kPop3, password(), listing({}, true)};
  secret.peer("+OK\r\n").peer("-ERR no\r\n");
  CHECK(secret.refused());
  LoginDialogue odd{login::kPop3, password(), listing({}, true)};
  odd.peer("+ go on\r\n");
  CHECK(odd.error().code == Errc::protocol);
}

TEST_CASE("login native: NNTP servers without CAPABILITIES, and those that list USER",
          "[proto][login]") {
  for (const auto* list : {"500 what?\r\n", "101 x\r\nAUTHINFO USER\r\n.\r\n"}) {
    LoginDialogue d{login::kNntp, password()};
    d.sends("CAPABILITIES\r\n").peer(list).sends("AUTHINFO USER ann\r\n").peer("381 more\r\n");
    d.sends("AUTHINFO PASS sesame\r\n").peer("281 in\r\n");
    CHECK(d.succeeded());
  }
  LoginDialogue locked{login::kNntp, password()};
  locked.peer("101 x\r\nAUTHINFO\r\nVERSION 2\r\n.\r\n");
  CHECK(locked.not_offered());

  LoginDialogue without{login::kNntp, password(), listing({}, true)};
  without.sends("AUTHINFO USER ann\r\n").peer("281 in\r\n").sends("");
  CHECK(without.succeeded());
  LoginDialogue again{login::kNntp, password(), listing({}, true)};
  again.peer("381 more\r\n").peer("381 more\r\n");
  CHECK(again.error().code == Errc::protocol);
  LoginDialogue refused{login::kNntp, password(), listing({}, true)};
  refused.peer("381 more\r\n").peer("481 no\r\n");
  CHECK(refused.refused());
}

TEST_CASE("LP12 login native: IMAP LOGIN with quoted strings", "[proto][login]") {
  const auto says = [](std::string_view secret, std::string_view command) {
    LoginDialogue d{login::kImap, password(secret), listing({}, true)};
    d.sends(command).peer("R4nd1 OK in\r\n");
    CHECK(d.succeeded());
  };
  says("sesame", "R4nd1 LOGIN \"ann\" \"sesame\"\r\n");
  says("a b", "R4nd1 LOGIN \"ann\" \"a b\"\r\n");
  says("a\"b\\c", "R4nd1 LOGIN \"ann\" \"a\\\"b\\\\c\"\r\n");
  says("{5}", "R4nd1 LOGIN \"ann\" \"{5}\"\r\n");
  says(std::string(1024, 's'), "R4nd1 LOGIN \"ann\" \"" + std::string(1024, 's') + "\"\r\n");
}

TEST_CASE("LP12 login native: IMAP LOGIN with literals, which wait for the server",
          "[proto][login]") {
  for (const auto& secret : {std::string("p\xc3\xa4ss"), std::string("a\tb"),
                             std::string(1025, 's'), std::string(9000, 's')}) {
    LoginDialogue d{login::kImap, password(secret), listing({}, true)};
    d.sends("R4nd1 LOGIN \"ann\" {" + std::to_string(secret.size()) + "}\r\n");
    d.peer("+\r\n").sends(secret + "\r\n").peer("R4nd1 OK in\r\n");
    CHECK(d.succeeded());
  }
  auto both = password("\xff");
  both.user = "\xc3\xa4nn";
  LoginDialogue d{login::kImap, both, listing({}, true)};
  d.sends("R4nd1 LOGIN {4}\r\n").peer("* 1 EXISTS\r\n+ go\r\n").sends("\xc3\xa4nn {1}\r\n");
  d.peer("+ go\r\n").sends("\xff\r\n").peer("R4nd1 NO [AUTHENTICATIONFAILED] x\r\n");
  CHECK(d.refused());

  LoginDialogue refused{login::kImap, both, listing({}, true)};
  refused.peer("R4nd1 BAD no literals\r\n").sends("R4nd1 LOGIN {4}\r\n");
  CHECK(refused.refused());
  LoginDialogue more{login::kImap, password(), listing({}, true)};
  more.peer("+ go\r\n");
  CHECK(more.error().code == Errc::protocol);
}

TEST_CASE("login native: IMAP servers that disable LOGIN, and those that refuse CAPABILITY",
          "[proto][login][security]") {
  LoginDialogue disabled{login::kImap, password()};
  disabled.peer("* CAPABILITY IMAP4rev1 LOGINDISABLED\r\nR4nd1 OK x\r\n")
      .sends("R4nd1 CAPABILITY\r\n");
  CHECK(disabled.not_offered());
  for (const auto* list : {"* CAPABILITY IMAP4rev1\r\nR4nd1 OK x\r\n", "R4nd1 BAD what?\r\n"}) {
    LoginDialogue d{login::kImap, password()};
    d.peer(list).sends("R4nd1 CAPABILITY\r\nR4nd2 LOGIN \"ann\" \"sesame\"\r\n");
  }
}
