#include <string>

#include "lib/base/ascii.h"
#include "lib/proto/lines.h"
#include "tests/support/catch.h"
#include "tests/support/dialogue.h"

// Names begin with ids of attacks and edge cases. The letters mean: A command injection, B response
// injection, N negotiation, S state across TLS, G general, P parser, K capabilities, T tampering, M
// bytes that a relay must not change.

using namespace starttls;
using namespace starttls::proto;
using starttls::test::DownstreamDialogue;
using starttls::test::UpstreamDialogue;

namespace {

RoleSettings settings(TlsMode upstream) {
  return {.upstream = upstream, .hostname = "proxy.example"};
}

const RoleSettings kStarttls = settings(TlsMode::starttls);
const RoleSettings kOpportunistic = settings(TlsMode::opportunistic);

constexpr std::string_view kEhlo = "EHLO proxy.example\r\n";
constexpr std::string_view kList = "250-mx.example\r\n250-SIZE 1000\r\n250 STARTTLS\r\n";

/// Plays the dialogue up to our STARTTLS.
void ask_for_tls(UpstreamDialogue& d) {
  d.peer("220 mx.example ESMTP\r\n").sends(kEhlo);
  d.peer(kList).sends("STARTTLS\r\n");
}

/// Returns the error that this greeting gives in mode `starttls`.
Errc greeted_with(std::string_view bytes) {
  UpstreamDialogue d{"smtp", kStarttls};
  d.peer(bytes).sends("");
  return d.error().code;
}

/// Returns the server's reply to EHLO as the client sees it.
std::string list_for_client(std::string_view list, RoleSettings role = kStarttls) {
  DownstreamDialogue d{"smtp", role};
  d.client("EHLO a\r\n").to_server("EHLO a\r\n").to_client("");
  return d.server(list).take_to_client();
}

/// Checks that we answer the command with `refusal` and the server never sees it.
void check_refused(const RoleSettings& role, std::string_view command, std::string_view refusal) {
  DownstreamDialogue d{"smtp", role};
  d.client(command).to_server("").to_client(refusal);
  CHECK(d.client_verdict() == Verdict::need_more);
  d.client("NOOP\r\n").to_server("NOOP\r\n");
  d.server("250 ok\r\n").to_client("250 ok\r\n");
}

void check_passed(const RoleSettings& role, std::string_view command) {
  DownstreamDialogue d{"smtp", role};
  d.client(command).to_server(command).to_client("");
  CHECK(d.client_verdict() == Verdict::need_more);
}

void check_commits(const RoleSettings& role, std::string_view command) {
  DownstreamDialogue d{"smtp", role};
  d.client(command).to_server("").to_client("");
  CHECK(d.client_verdict() == Verdict::relay);
  CHECK(d.server_verdict() == Verdict::relay);
  CHECK(d.unread_client() == command);
}

}  // namespace

// ---------------------------------------------------------------- upstream, starttls

TEST_CASE("smtp upstream: the role conducts STARTTLS, then the client may be greeted",
          "[proto][smtp]") {
  UpstreamDialogue d{"smtp", kStarttls};
  CHECK(d.state() == "greeting");
  d.peer("220 mx.example ESMTP ready\r\n").sends(kEhlo);
  CHECK(d.state() == "ehlo");
  d.peer(kList).sends("STARTTLS\r\n");
  CHECK(d.state() == "starttls");
  d.peer("220 2.0.0 go ahead\r\n").sends("");
  CHECK(d.verdict() == Verdict::start_tls);
  CHECK(d.state() == "tls");
  d.secured().sends("");
  CHECK(d.verdict() == Verdict::greeted);
  CHECK(d.state() == "done");
  CHECK(d.greeting() == "220 mx.example ESMTP ready\r\n");
  CHECK(d.fallback_reason().empty());
}

TEST_CASE("lmtp upstream: the role does the same with LHLO", "[proto][lmtp]") {
  UpstreamDialogue d{"lmtp", kStarttls};
  d.peer("220 \r\n").sends("LHLO proxy.example\r\n");
  d.peer("250-mx\r\n250 STARTTLS\r\n").sends("STARTTLS\r\n");
  d.peer("220 go\r\n").secured();
  CHECK(d.verdict() == Verdict::greeted);
  CHECK(d.greeting() == "220 proxy.example LMTP\r\n");
}

TEST_CASE("B1 smtp upstream: bytes after the 220 stay unread for the leg to refuse",
          "[proto][smtp][security]") {
  for (const std::string_view injected :
       {"250-example.org\r\n250 AUTH LOGIN\r\n", "250 x", "\xff", "\n"}) {
    UpstreamDialogue d{"smtp", kStarttls};
    ask_for_tls(d);
    d.peer("220 Ready to start TLS\r\n" + std::string(injected)).sends("");
    CHECK(d.verdict() == Verdict::start_tls);
    CHECK(d.unread() == injected);
  }
}

TEST_CASE("B10 smtp upstream: a refusal followed by a fake session does not reach the client",
          "[proto][smtp][security]") {
  constexpr std::string_view kFake =
      "454 currently unavailable\r\n235 Authenticated\r\n250 2.1.0 ok\r\n250 ok\r\n354 go\r\n"
      "250 2.0.0 Accepted\r\n";
  UpstreamDialogue required{"smtp", kStarttls};
  ask_for_tls(required);
  required.peer(kFake).sends("");
  CHECK(required.error().code == Errc::tls_refused);

  // In mode `opportunistic` they would answer the client's own commands.
  UpstreamDialogue opportunistic{"smtp", kOpportunistic};
  ask_for_tls(opportunistic);
  opportunistic.peer(kFake).sends("");
  CHECK(opportunistic.error().code == Errc::attack);
}

TEST_CASE("B12 smtp upstream: replies before their commands are an attack",
          "[proto][smtp][security]") {
  for (const auto mode : {TlsMode::starttls, TlsMode::opportunistic}) {
    UpstreamDialogue early{"smtp", settings(mode)};
    early.peer("220 mx\r\n220 ok\r\n220 ok\r\n");
    CHECK(early.error().code == Errc::attack);
    CHECK(early.error().evidence == "220 ok\r\n220 ok\r\n");

    UpstreamDialogue part_of_a_line{"smtp", settings(mode)};
    part_of_a_line.peer("220 mx\r\n2");
    CHECK(part_of_a_line.error().code == Errc::attack);

    UpstreamDialogue go_ahead{"smtp", settings(mode)};
    go_ahead.peer("220 mx\r\n").peer("250-mx\r\n250 STARTTLS\r\n220 go\r\n");
    CHECK(go_ahead.error().code == Errc::attack);

    UpstreamDialogue no_offer{"smtp", settings(mode)};
    no_offer.peer("220 mx\r\n").peer("250 mx\r\n250 ok\r\n");
    CHECK(no_offer.failed());
  }
}

TEST_CASE("B13 P2 smtp upstream: every byte may come alone", "[proto][smtp]") {
  UpstreamDialogue d{"smtp", kStarttls};  // and so does every dialogue when it is replayed
  for (const char c : std::string("220 mx\r\n")) d.peer({&c, 1});
  d.sends(kEhlo);
  for (const char c : std::string(kList)) d.peer({&c, 1});
  d.sends("STARTTLS\r\n");
  for (const char c : std::string("220 go\r")) d.peer({&c, 1});
  CHECK(d.verdict() == Verdict::need_more);
  d.peer("\n");
  CHECK(d.verdict() == Verdict::start_tls);
  CHECK(d.unread().empty());
}

TEST_CASE("B14 smtp upstream: the go-ahead may have several lines", "[proto][smtp]") {
  UpstreamDialogue d{"smtp", kStarttls};
  ask_for_tls(d);
  d.peer("220-foo\r\n220 bar\r\nx");
  CHECK(d.verdict() == Verdict::start_tls);
  CHECK(d.unread() == "x");
}

TEST_CASE("N1 smtp upstream: the session ends if STARTTLS is not offered",
          "[proto][smtp][security]") {
  for (const auto* list : {"250-mx\r\n250 AUTH PLAIN LOGIN\r\n", "250 mx\r\n", "250 STARTTLS\r\n",
                           "250-STARTTLS\r\n250 SIZE\r\n", "250\r\n"}) {
    UpstreamDialogue d{"smtp", kStarttls};
    d.peer("220 mx\r\n").sends(kEhlo);
    d.peer(list).sends("");
    CHECK(d.error().code == Errc::tls_not_offered);
    CHECK(d.error().reason == "server does not offer STARTTLS");
  }
}

TEST_CASE("N2 smtp upstream: only 220 is a go-ahead", "[proto][smtp][security]") {
  for (const auto* code : {"502", "454", "354", "221", "421", "500", "501", "530", "250", "200",
                           "222", "520", "22O"}) {
    UpstreamDialogue d{"smtp", kStarttls};
    ask_for_tls(d);
    d.peer(std::string(code) + " do something else\x1b\r\n").sends("");
    CHECK(d.error().code == (code[2] == 'O' ? Errc::protocol : Errc::tls_refused));
    CHECK(d.error().evidence == std::string(code) + " do something else\x1b");
  }
}

TEST_CASE("N3 smtp upstream: a refused EHLO ends the session, without HELO",
          "[proto][smtp][security]") {
  for (const auto* code : {"500", "501", "502", "504", "550", "530", "221", "354", "421", "220"}) {
    UpstreamDialogue d{"smtp", kStarttls};
    d.peer("220 mx\r\n").sends(kEhlo);
    d.peer(std::string(code) + " no STARTTLS\r\n").sends("");
    CHECK(d.error().code == Errc::tls_not_offered);
    CHECK(d.error().reason == "server refused EHLO");
  }
}

TEST_CASE("N3 smtp upstream: STARTTLS in a refused EHLO is not an offer",
          "[proto][smtp][security]") {
  UpstreamDialogue d{"smtp", kStarttls};
  d.peer("220 mx\r\n").sends(kEhlo);
  d.peer("550-mx\r\n550 STARTTLS\r\n").sends("");
  CHECK(d.error().code == Errc::tls_not_offered);
}

TEST_CASE("N4 smtp upstream: a greeting that is not a welcome ends the session", "[proto][smtp]") {
  for (const auto* code : {"554", "421", "500", "501", "530", "450"}) {
    for (const auto mode : {TlsMode::starttls, TlsMode::opportunistic}) {
      UpstreamDialogue d{"smtp", settings(mode)};
      d.peer(std::string(code) + " No SMTP \x1bservice here\r\n").sends("");
      CHECK(d.error().code == Errc::greeting_refused);
      CHECK(d.error().reason == "server says: " + std::string(code) + " No SMTP service here");
      CHECK(d.greeting().empty());
    }
  }
  for (const auto* code : {"221", "354", "250", "200", "600", "000", "999"}) {
    CHECK(greeted_with(std::string(code) + " hi\r\n") == Errc::protocol);
  }
}

TEST_CASE("smtp upstream: D6: a refusal of several lines is passed on whole, up to a limit",
          "[proto][smtp]") {
  UpstreamDialogue d{"smtp", kStarttls};
  d.peer(
       "421-4.7.0 [192.0.2.1] unusual rate of\r\n421-4.7.0 mail, see example.com\r\n"
       "421-\r\n421 4.7.0 for help. x23-abc\r\n")
      .sends("");
  CHECK(
      d.error().reason ==
      "server says: 421 4.7.0 [192.0.2.1] unusual rate of mail, see example.com for help. x23-abc");

  UpstreamDialogue other{"smtp", kStarttls};
  other.peer("220 mx\r\n").sends(kEhlo).peer("554-No\r\n554-4 you\r\n554\r\n").sends("");
  CHECK(other.error().evidence == "554 No 4 you");

  UpstreamDialogue endless{"smtp", kStarttls};
  std::string lines;
  for (int i = 0; i < 40; ++i) lines += "550-" + std::string(100, 'x') + "\r\n";
  endless.peer(lines + "550 end\r\n").sends("");
  CHECK(endless.error().reason.size() < 600);
}

TEST_CASE("G7 P8 smtp upstream: a greeting may be long, up to a limit", "[proto][smtp]") {
  UpstreamDialogue d{"smtp", kStarttls};
  std::string lines;
  for (int i = 0; i < 200; ++i) lines += "220-mx.example says hello\r\n";
  d.peer(lines + "220 done\r\n").sends(kEhlo);

  const std::string line = "220-" + std::string(1000, 'x') + "\r\n";
  std::string endless;
  while (endless.size() <= kMaxReply) endless += line;
  CHECK(greeted_with(endless) == Errc::protocol);
  CHECK(greeted_with("220 " + std::string(kMaxLine, 'x')) == Errc::protocol);
}

TEST_CASE("G8 smtp upstream: a reply with two codes is an error", "[proto][smtp][security]") {
  CHECK(greeted_with("220-a\r\n250 b\r\n") == Errc::protocol);
  CHECK(greeted_with("220-a\r\n554 b\r\n") == Errc::protocol);
  UpstreamDialogue d{"smtp", kStarttls};
  ask_for_tls(d);
  d.peer("454-a\r\n220 b\r\n");
  CHECK(d.error().code == Errc::protocol);
}

TEST_CASE(
    "G10 smtp upstream: the keyword is a whole word, in any case, on any line except the first",
    "[proto][smtp]") {
  for (const auto* line : {"STARTTLS foo", "starttls", "StartTLS", "STARTTLS "}) {
    UpstreamDialogue d{"smtp", kStarttls};
    d.peer("220 mx\r\n").sends(kEhlo);
    d.peer("250-mx\r\n250-" + std::string(line) + "\r\n250 SIZE\r\n").sends("STARTTLS\r\n");
  }
  for (const auto* line : {"X-STARTTLS", "STARTTLSX", "X STARTTLS", "STARTTLS=1", ""}) {
    UpstreamDialogue d{"smtp", kStarttls};
    d.peer("220 mx\r\n").sends(kEhlo);
    d.peer("250-mx\r\n250-" + std::string(line) + "\r\n250 SIZE\r\n").sends("");
    CHECK(d.error().code == Errc::tls_not_offered);
  }
}

TEST_CASE("P3 smtp upstream: a line that is not a reply is an error", "[proto][smtp][security]") {
  for (const auto* line : {"25", "2", "", "2500 x", "abc d", "+OK", "220x", "22", "220\ta",
                           " 220 a", "-20 a", "+20 a"}) {
    CHECK(greeted_with(std::string(line) + "\r\n") == Errc::protocol);
  }
}

TEST_CASE("P3 smtp upstream: a bare code is the last line", "[proto][smtp]") {
  UpstreamDialogue d{"smtp", kStarttls};
  d.peer("220\r\n").sends(kEhlo);
  d.peer("250-\r\n250-STARTTLS\r\n250\r\n").sends("STARTTLS\r\n");
  d.peer("220\r\n");
  CHECK(d.verdict() == Verdict::start_tls);
}

TEST_CASE("P5 P6 P7 smtp upstream: bare LF, NUL and stray CR end the session",
          "[proto][smtp][security]") {
  using namespace std::string_view_literals;
  CHECK(greeted_with("220 mx\n") == Errc::protocol);
  CHECK(greeted_with("220-mx\r\n220 a\n250 b\r\n") == Errc::protocol);
  CHECK(greeted_with("220 a\0b\r\n"sv) == Errc::protocol);
  CHECK(greeted_with("220 a\0"sv) == Errc::protocol);
  CHECK(greeted_with("22\r0 ok\r\n") == Errc::protocol);
  CHECK(greeted_with("220 ok\r\r\n") == Errc::protocol);

  UpstreamDialogue d{"smtp", kStarttls};
  ask_for_tls(d);
  d.peer("220 go\n");
  CHECK(d.error().code == Errc::protocol);
}

TEST_CASE("P9 T23 T24 smtp upstream: only the printable text of a clear greeting is passed on",
          "[proto][smtp][security]") {
  const auto greeting = [](std::string_view heard, bool greeting_text = true) {
    auto role = kStarttls;
    role.greeting_text = greeting_text;
    UpstreamDialogue d{"smtp", role};
    d.peer(heard).peer(kList).peer("220 go\r\n").secured();
    CHECK(d.verdict() == Verdict::greeted);
    return d.greeting();
  };
  CHECK(greeting("220 \x1b[31;1mmx\x1b[0m \xc3\xa9tat\r\n") == "220 [31;1mmx[0m tat\r\n");
  CHECK(greeting("220-mx one\r\n220-250 ok\r\n220 two\r\n") == "220 mx one\r\n");
  CHECK(greeting("220\r\n") == "220 proxy.example ESMTP\r\n");
  CHECK(greeting("220 \t \r\n") == "220 proxy.example ESMTP\r\n");
  CHECK(greeting("220 mx\r\n", false) == "220 proxy.example ESMTP\r\n");
  CHECK(greeting("220 " + std::string(5000, 'x') + "\r\n") ==
        "220 " + std::string(506, 'x') + "\r\n");
}

TEST_CASE("smtp upstream: our own words replace the greeting of a connection after a fallback, too",
          "[proto][smtp]") {
  for (const bool theirs : {true, false}) {
    auto role = kStarttls;
    role.upstream = TlsMode::none;
    role.greeting_text = theirs;
    UpstreamDialogue d{"smtp", role};
    d.peer("220-SECRET\r\n220 Postfix 9\r\n");
    CHECK(d.greeting() ==
          (theirs ? "220-SECRET\r\n220 Postfix 9\r\n" : "220 proxy.example ESMTP\r\n"));
    UpstreamDialogue refused{"smtp", role};
    refused.peer("554 go away\r\n");
    CHECK(refused.greeting() == "554 go away\r\n");
  }
}

TEST_CASE("T25 smtp upstream: a list received in the clear leaves no trace",
          "[proto][smtp][security]") {
  std::string list = "250-mx\r\n250-SIZE 1\r\n250-AUTH CRAM-MD5";
  for (int i = 0; i < 100; ++i) list += " ODD-" + std::to_string(i);
  list += "\r\n250-" + std::string(2000, 'x') + "\r\n250 STARTTLS\r\n";
  UpstreamDialogue d{"smtp", kStarttls};
  d.peer("220 mx\r\n").sends(kEhlo);
  d.peer(list).sends("STARTTLS\r\n");
  d.peer("220 go\r\n").secured().sends("");
  CHECK(d.greeting() == "220 mx\r\n");
}

// ---------------------------------------------------------------- upstream, opportunistic

TEST_CASE("smtp upstream: opportunistic uses STARTTLS where it is offered", "[proto][smtp]") {
  UpstreamDialogue d{"smtp", kOpportunistic};
  ask_for_tls(d);
  d.peer("220 go\r\n");
  CHECK(d.verdict() == Verdict::start_tls);
  d.secured();
  CHECK(d.verdict() == Verdict::greeted);
  CHECK(d.fallback_reason().empty());
}

TEST_CASE("smtp upstream: opportunistic stays in the clear if TLS is refused or not offered",
          "[proto][smtp]") {
  for (const auto* answer :
       {"250-mx\r\n250 SIZE\r\n", "250 mx\r\n", "502 what?\r\n", "500-a\r\n500 b\r\n",
        "450 later\r\n", "220 mx\r\n", "421 busy\r\n", "221 bye\r\n"}) {
    UpstreamDialogue d{"smtp", kOpportunistic};
    d.peer("220 mx\x1b hi\r\n").sends(kEhlo);
    d.peer(answer).sends("");
    CHECK(d.verdict() == Verdict::greeted);
    CHECK(d.greeting() == "220 mx hi\r\n");
    CHECK(!d.fallback_reason().empty());
  }
  for (const auto* code : {"454", "502", "500", "501", "530", "451", "250", "354", "421", "221"}) {
    UpstreamDialogue d{"smtp", kOpportunistic};
    ask_for_tls(d);
    d.peer(std::string(code) + " no\r\n").sends("");
    CHECK(d.verdict() == Verdict::greeted);
    CHECK(d.fallback_reason() == "server refused STARTTLS");
  }
}

TEST_CASE("smtp upstream: opportunistic falls back in no other case", "[proto][smtp][security]") {
  const auto error_of = [](std::initializer_list<std::string_view> flights) {
    UpstreamDialogue d{"smtp", kOpportunistic};
    for (const auto flight : flights) d.peer(flight);
    CHECK(d.verdict() == Verdict::need_more);
    return d.error().code;
  };
  CHECK(error_of({"421 busy\r\n"}) == Errc::greeting_refused);
  CHECK(error_of({"220 mx\r\n", "250-mx\r\n500 x\r\n"}) == Errc::protocol);
  CHECK(error_of({"220 mx\r\n", "250 mx\n"}) == Errc::protocol);
  CHECK(error_of({"220 mx\r\n", kList, "no\r\n"}) == Errc::protocol);
}

// ---------------------------------------------------------------- upstream, implicit and none

TEST_CASE("T24 smtp upstream: a leg that does not upgrade relays the greeting unchanged",
          "[proto][smtp]") {
  for (const auto mode : {TlsMode::implicit, TlsMode::none}) {
    UpstreamDialogue d{"smtp", settings(mode)};
    d.peer("220-mx \xc3\xa9tat\r\n220-\n220 ready\r\n").sends("");
    CHECK(d.verdict() == Verdict::greeted);
    CHECK(d.state() == "done");
    CHECK(d.greeting() == "220-mx \xc3\xa9tat\r\n220-\n220 ready\r\n");
  }
}

TEST_CASE("N4 smtp upstream: a leg that does not upgrade keeps a refusal unchanged",
          "[proto][smtp]") {
  for (const auto mode : {TlsMode::implicit, TlsMode::none}) {
    UpstreamDialogue d{"smtp", settings(mode)};
    d.peer("554-go\xff away\r\n554 please\r\n").sends("");
    CHECK(d.error().code == Errc::greeting_refused);
    CHECK(d.greeting() == "554-go\xff away\r\n554 please\r\n");
  }
}

TEST_CASE("P6 P7 G8 smtp upstream: on any leg a malformed greeting ends the session",
          "[proto][smtp][security]") {
  using namespace std::string_view_literals;
  for (const auto mode : {TlsMode::implicit, TlsMode::none}) {
    for (const auto greeting :
         {"220 a\0\r\n"sv, "220 a\rb\r\n"sv, "250 hi\r\n"sv, "220-a\r\n554 b\r\n"sv, "hi\r\n"sv}) {
      UpstreamDialogue d{"smtp", settings(mode)};
      d.peer(greeting).sends("");
      CHECK(d.error().code == Errc::protocol);
    }
  }
}

// ---------------------------------------------------------------- downstream

TEST_CASE("smtp downstream: commands and replies pass until the client commits", "[proto][smtp]") {
  for (const auto* protocol : {"smtp", "lmtp"}) {
    DownstreamDialogue d{protocol, kStarttls};
    CHECK(d.state() == "commands");
    d.client("HELO old\r\n").to_server("HELO old\r\n");
    d.server("250 mx\r\n").to_client("250 mx\r\n");
    d.client("VRFY x\r\n").to_server("VRFY x\r\n");
    d.server("252-a\r\n252 b\r\n").to_client("252-a\r\n252 b\r\n");
    d.client("MAIL FROM:<a@b>\r\nRCPT").to_server("");
    CHECK(d.client_verdict() == Verdict::relay);
    CHECK(d.server_verdict() == Verdict::relay);
    CHECK(d.unread_client() == "MAIL FROM:<a@b>\r\nRCPT");
  }
}

TEST_CASE("smtp downstream: AUTH, MAIL and BDAT commit, in any case", "[proto][smtp]") {
  for (const auto* command : {"AUTH PLAIN dGVzdA==\r\n", "auth login\r\n", "MAIL FROM:<>\r\n",
                              "mail\r\n", "BDAT 5 LAST\r\n", " MAIL FROM:<a>\n", "Mail\tx\r\n"}) {
    check_commits(kStarttls, command);
  }
  for (const auto* command : {"AUTHX\r\n", "MAILER\r\n", "XMAIL\r\n", "HELP MAIL\r\n", "RSET\r\n",
                              "NOOP AUTH\r\n", "\r\n", "QUIT\r\n", "VRFY MAIL\r\n"}) {
    check_passed(kStarttls, command);
  }
}

TEST_CASE("smtp downstream: D11: SAML, SEND and SOML commit as MAIL does", "[proto][smtp]") {
  for (const auto* command : {"SAML FROM:<a@b>\r\n", "send from:<a@b>\r\n", "SOML FROM:<>\r\n"}) {
    check_commits(kStarttls, command);
  }
  check_passed(kStarttls, "SENDER\r\n");
}

TEST_CASE("smtp downstream: D10: Exchange's own commands for TLS and AUTH commit",
          "[proto][smtp]") {
  for (const auto* command : {"X-EXPS GSSAPI\r\n", "x-anonymoustls\r\n"}) {
    check_commits(kStarttls, command);
  }
}

TEST_CASE("smtp downstream: an unfinished command does not pass and does not commit",
          "[proto][smtp]") {
  DownstreamDialogue d{"smtp", kStarttls};
  d.client("MAIL FROM:<a@b>\r").to_server("");
  CHECK(d.client_verdict() == Verdict::need_more);
  d.client("\n");
  CHECK(d.client_verdict() == Verdict::relay);
}

TEST_CASE("P5 smtp downstream: a bare LF ends a command and passes unchanged", "[proto][smtp]") {
  for (const auto mode : {TlsMode::none, TlsMode::implicit, TlsMode::opportunistic}) {
    auto role = kStarttls;
    role.downstream = mode;
    check_passed(role, "HELO old device\n");
    check_commits(role, "MAIL FROM:<a@b>\n");
  }
  check_refused(kStarttls, "STARTTLS\n", "502 5.5.1 STARTTLS is not available\r\n");
}

TEST_CASE(
    "P6 P7 P8 smtp downstream: a malformed command is the client's error, and no password is "
    "passed on",
    "[proto][smtp][security]") {
  using namespace std::string_view_literals;
  for (const auto& command :
       {std::string("NOOP\0\r\n"sv), std::string("STAR\rTTLS\r\n"), std::string("NOOP\r\r\n"),
        "NOOP " + std::string(kMaxLine, 'x'), "AUTH PLAIN \r" + std::string(12288, 'x')}) {
    DownstreamDialogue d{"smtp", kStarttls};
    d.client(command).to_server("");
    CHECK(d.error().code == Errc::client_protocol);
    CHECK(d.error().evidence.empty());
  }
}

TEST_CASE("P9 smtp downstream: 8-bit arguments pass unchanged", "[proto][smtp]") {
  check_passed(kStarttls, "EHLO \xc3\xa9tat\xff\xfe\r\n");
}

TEST_CASE("G2 P1 M5 smtp downstream: a client that sends all at once commits after its EHLO",
          "[proto][smtp]") {
  DownstreamDialogue d{"smtp", kStarttls};
  d.client("EHLO x\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\n").to_server("EHLO x\r\n");
  CHECK(d.client_verdict() == Verdict::relay);
  CHECK(d.unread_client() == "MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\n");
  CHECK(d.server_verdict() == Verdict::need_more);
  CHECK(d.state() == "committed");
  d.server("250-mx\r\n250 STARTTLS\r\n250 sender ok\r\n250 rcpt").to_client("250 mx\r\n");
  CHECK(d.server_verdict() == Verdict::relay);
  CHECK(d.unread_server() == "250 sender ok\r\n250 rcpt");
}

TEST_CASE("G3 smtp downstream: the proxy answers the client's own STARTTLS",
          "[proto][smtp][security]") {
  for (const auto* command : {"STARTTLS\r\n", "starttls\r\n", "STARTTLS \r\n", "StartTLS now\r\n",
                              " STARTTLS\r\n", "\tSTARTTLS\r\n", "STARTTLS\t\r\n"}) {
    check_refused(kStarttls, command, "502 5.5.1 STARTTLS is not available\r\n");
    check_refused(settings(TlsMode::none), command, "502 5.5.1 STARTTLS is not available\r\n");
    auto implicit = kStarttls;
    implicit.downstream = TlsMode::implicit;
    check_refused(implicit, command, "503 5.5.1 TLS is already active\r\n");
  }
  check_passed(kStarttls, "NOOP STARTTLS\r\n");
  check_passed(kStarttls, "STARTTLSX\r\n");
}

TEST_CASE("M5 smtp downstream: the proxy's replies keep their place among the server's",
          "[proto][smtp]") {
  DownstreamDialogue d{"smtp", kStarttls};
  d.client("EHLO x\r\nSTARTTLS\r\nNOOP\r\nXCLIENT a\r\nSTARTTLS\r\nMAIL FROM:<a>\r\n")
      .to_server("EHLO x\r\nNOOP\r\n")
      .to_client("");
  d.server("250-mx\r\n").to_client("");
  d.server("250 SIZE\r\n")
      .to_client("250-mx\r\n250 SIZE\r\n502 5.5.1 STARTTLS is not available\r\n");
  CHECK(d.server_verdict() == Verdict::need_more);
  d.server("250 noop\r\n250 sender\r\n")
      .to_client(
          "250 noop\r\n550 5.7.1 Command not allowed\r\n"
          "502 5.5.1 STARTTLS is not available\r\n");
  CHECK(d.server_verdict() == Verdict::relay);
  CHECK(d.unread_server() == "250 sender\r\n");
}

TEST_CASE(
    "smtp downstream: unsolicited replies of the server pass, and the proxy's reply does not cut "
    "into them",
    "[proto][smtp]") {
  DownstreamDialogue d{"smtp", kStarttls};
  d.server("421-closing\r\n").to_client("421-closing\r\n");
  d.client("STARTTLS\r\nEHLO x\r\n").to_server("EHLO x\r\n").to_client("");
  d.server("421 now\r\n").to_client("421 now\r\n502 5.5.1 STARTTLS is not available\r\n");
  d.server("250-mx\r\n250 STARTTLS\r\n").to_client("250 mx\r\n");
}

TEST_CASE("smtp downstream: a commit waits for the end of an unsolicited reply", "[proto][smtp]") {
  DownstreamDialogue d{"smtp", kStarttls};
  d.server("220-more\r\n").to_client("220-more\r\n");
  d.client("MAIL FROM:<a>\r\n");
  CHECK(d.client_verdict() == Verdict::relay);
  CHECK(d.server_verdict() == Verdict::need_more);
  d.server("220 greeting\r\n250").to_client("220 greeting\r\n");
  CHECK(d.server_verdict() == Verdict::relay);
  CHECK(d.unread_server() == "250");
}

TEST_CASE("P3 G8 P6 smtp downstream: a line that is not a reply ends the session",
          "[proto][smtp][security]") {
  using namespace std::string_view_literals;
  for (const auto reply : {"hello\r\n"sv, "25\r\n"sv, "2500 x\r\n"sv, "250-a\r\n550 b\r\n"sv,
                           "250 a\0\r\n"sv, "250 a\rb\r\n"sv, "250 a\n"sv, "\r\n"sv}) {
    DownstreamDialogue d{"smtp", kStarttls};
    d.client("EHLO a\r\n").to_server("EHLO a\r\n");
    d.server(reply).to_client("");
    CHECK(d.error().code == Errc::protocol);
  }
}

TEST_CASE("P8 smtp downstream: a reply is held to 64 KiB, edited or not", "[proto][smtp]") {
  const std::string line = "250-" + std::string(4000, 'x') + "\r\n";
  std::string endless;
  while (endless.size() <= kMaxReply) endless += line;
  for (const auto* command : {"EHLO a\r\n", "HELP\r\n"}) {
    DownstreamDialogue d{"smtp", kStarttls};
    d.client(command).to_server(command);
    d.server(endless);
    CHECK(d.error().code == Errc::protocol);
  }
}

TEST_CASE("smtp downstream: D4: after the commit a list that breaks a limit passes unchanged",
          "[proto][smtp]") {
  constexpr std::string_view kBegun = "250-mx\r\n250-STARTTLS\r\n";
  const std::string line = "250-" + std::string(4000, 'x') + "\r\n";
  std::string endless(kBegun);
  while (endless.size() <= kMaxReply) endless += line;
  for (const auto& [list, rest] :
       {std::pair{std::string(kBegun), "250-" + std::string(kMaxLine, 'x')},
        std::pair{std::string(kBegun), std::string("550 x\r\n250 ok\r\n")},
        std::pair{endless.substr(0, endless.size() - line.size()), line + "250 SIZE\r\n"}}) {
    DownstreamDialogue d{"smtp", kStarttls};
    d.client("EHLO a\r\nMAIL FROM:<a@b>\r\n").to_server("EHLO a\r\n");
    d.server(list + rest).to_client(list);
    CHECK(d.server_verdict() == Verdict::relay);
    CHECK(d.unread_server() == rest);
  }
}

TEST_CASE("P8 smtp downstream: the limit applies to one reply, not to the session",
          "[proto][smtp]") {
  DownstreamDialogue d{"smtp", kStarttls};
  const std::string reply = "214-" + std::string(8000, 'x') + "\r\n214 end\r\n";
  for (std::size_t size = 0; size <= kMaxReply; size += reply.size()) {
    d.client("HELP\r\n").server(reply).to_client(reply);
  }
  CHECK(!d.failed());
}

TEST_CASE("smtp downstream: twenty refused commands end the session", "[proto][smtp][security]") {
  DownstreamDialogue d{"smtp", kStarttls};
  for (int i = 0; i < 19; ++i) {
    d.client("STARTTLS\r\n").to_client("502 5.5.1 STARTTLS is not available\r\n");
  }
  d.client("XCLIENT x\r\n").to_client("");
  CHECK(d.error().code == Errc::too_many_errors);
  CHECK(d.error().reason == "too many errors");
}

TEST_CASE("smtp downstream: D12: only commands that the server refuses are counted",
          "[proto][smtp]") {
  DownstreamDialogue d{"smtp", kStarttls};
  for (int i = 0; i < 25; ++i) {
    d.client("VRFY x\r\n").to_server("VRFY x\r\n");
    d.server("550 5.1.1 no such user\r\n").to_client("550 5.1.1 no such user\r\n");
  }
  CHECK(!d.failed());
  for (const auto* refusal : {"500 x\r\n", "501 x\r\n", "502 x\r\n", "503 x\r\n", "504 x\r\n"}) {
    for (int i = 0; i < 3; ++i) d.client("FOO\r\n").server(refusal);
  }
  for (int i = 0; i < 4; ++i) d.client("FOO\r\n").server("530 5.7.0 no\r\n");
  CHECK(!d.failed());
  d.client("FOO\r\n").server("530 5.7.0 no\r\n");
  CHECK(d.error().code == Errc::too_many_errors);
}

TEST_CASE("P20 smtp downstream: commands that the server refuses count as well",
          "[proto][smtp][security]") {
  DownstreamDialogue d{"smtp", kStarttls};
  for (int i = 0; i < 19; ++i) {
    d.client("FOO\r\n").to_server("FOO\r\n");
    d.server("500-what\r\n500 was that\r\n").to_client("500-what\r\n500 was that\r\n");
    d.client("NOOP\r\n").to_server("NOOP\r\n");
    d.server("250 ok\r\n").to_client("250 ok\r\n");
  }
  CHECK(!d.failed());
  d.client("FOO\r\n").to_server("FOO\r\n");
  d.server("502 no\r\n").to_client("502 no\r\n");
  CHECK(d.error().code == Errc::too_many_errors);
}

TEST_CASE("smtp downstream: commands without a reply are bounded", "[proto][smtp][security]") {
  DownstreamDialogue d{"smtp", kStarttls};
  std::string commands;
  for (int i = 0; i < 1000; ++i) commands += "A\n";
  d.client(commands).to_server(commands);
  CHECK(!d.failed());
  d.client("A\n").to_server("");
  CHECK(d.error().code == Errc::client_protocol);
}

// ---------------------------------------------------------------- downstream, starttls

namespace {

RoleSettings terminating(TlsMode downstream, TlsMode upstream = TlsMode::none) {
  return {.downstream = downstream, .upstream = upstream, .hostname = "proxy.example"};
}

const RoleSettings kTerminate = terminating(TlsMode::starttls);
const RoleSettings kOffer = terminating(TlsMode::opportunistic);

constexpr std::string_view kOwnList =
    "250-proxy.example\r\n250-STARTTLS\r\n250 ENHANCEDSTATUSCODES\r\n";
constexpr std::string_view kTlsFirst = "530 5.7.0 Must issue a STARTTLS command first\r\n";
constexpr std::string_view kHelloFirst = "503 5.5.1 Send EHLO again after STARTTLS\r\n";
constexpr std::string_view kTlsActive = "503 5.5.1 TLS is already active\r\n";

/// Plays the client's STARTTLS and its handshake.
void start_tls(DownstreamDialogue& d) {
  d.client("STARTTLS\r\n").to_server("").to_client("");
  CHECK(d.client_verdict() == Verdict::start_tls);
  CHECK(d.unread_client().empty());
  d.secured().to_server("").to_client("");
  CHECK(d.client_verdict() == Verdict::need_more);
}

}  // namespace

TEST_CASE("smtp downstream: the role conducts STARTTLS, then the session starts again",
          "[proto][smtp][lmtp]") {
  for (const auto* protocol : {"smtp", "lmtp"}) {
    for (const auto* hello : {"EHLO a\r\n", "LHLO a\r\n", "ehlo\r\n"}) {
      DownstreamDialogue d{protocol, kTerminate};
      d.client(hello).to_server("").to_client(kOwnList);
      start_tls(d);
      d.client("EHLO b\r\n").to_server("EHLO b\r\n").to_client("");
      d.server("250-mx\r\n250 AUTH PLAIN\r\n").to_client("250-mx\r\n250 AUTH PLAIN\r\n");
      d.client("MAIL FROM:<a@b>\r\n").to_server("").to_client("");
      CHECK(d.client_verdict() == Verdict::relay);
      CHECK(d.server_verdict() == Verdict::relay);
    }
  }
}

TEST_CASE("smtp downstream: the go-ahead and the refusal of early bytes are one line each",
          "[proto][smtp]") {
  const auto role = find_protocol("smtp")->downstream(kTerminate);
  CHECK(role->go_ahead() == "220 2.0.0 Ready to start TLS\r\n");
  CHECK(role->injection_reply() == "503 5.5.1 STARTTLS must be last\r\n");
}

TEST_CASE("smtp downstream: the proxy answers the table's commands before TLS",
          "[proto][smtp][security]") {
  const struct {
    std::string_view command;
    std::string_view answer;
  } kRows[] = {
      {"EHLO x\r\n", kOwnList},
      {"LHLO x\r\n", kOwnList},
      {"HELO x\r\n", "250 proxy.example\r\n"},
      {"NOOP AUTH\r\n", "250 2.0.0 OK\r\n"},
      {"rset\r\n", "250 2.0.0 OK\r\n"},
      {"HELP me\r\n", "214 2.0.0 Send STARTTLS\r\n"},
  };
  DownstreamDialogue d{"smtp", kTerminate};
  for (int i = 0; i < 5; ++i) {  // more commands than errors are allowed
    for (const auto& [command, answer] : kRows) d.client(command).to_server("").to_client(answer);
  }
  start_tls(d);
}

TEST_CASE("G4 smtp downstream: QUIT before TLS is answered and ends the session", "[proto][smtp]") {
  DownstreamDialogue d{"smtp", kTerminate};
  d.client("NOOP\r\nquit\r\nNOOP\r\n").to_server("").to_client("250 2.0.0 OK\r\n221 2.0.0 Bye\r\n");
  CHECK(d.client_verdict() == Verdict::finish);
  CHECK(d.unread_client() == "NOOP\r\n");

  // If the server hears the client, the server answers QUIT.
  check_passed(kOffer, "QUIT\r\n");
  DownstreamDialogue after_tls{"smtp", kTerminate};
  start_tls(after_tls);
  after_tls.client("QUIT\r\n").to_server("QUIT\r\n").to_client("");
}

TEST_CASE("N15 smtp downstream: other commands before TLS are refused, and the server gets nothing",
          "[proto][smtp][security]") {
  for (const auto* command :
       {"AUTH PLAIN dGVzdA==\r\n", "MAIL FROM:<a@b>\r\n", "VRFY x\r\n", "RCPT TO:<a@b>\r\n",
        "DATA\r\n", "BDAT 5 LAST\r\n", "EXPN x\r\n", "ETRN x\r\n", "XCLIENT ADDR=1.2.3.4\r\n",
        "\r\n", "FOO\r\n", "STARTTLSX\r\n", "QUITE\r\n", "MAIL FROM:<a@b> REQUIRETLS\r\n"}) {
    DownstreamDialogue d{"smtp", kTerminate};
    d.client(command).to_server("").to_client(kTlsFirst);
    CHECK(d.client_verdict() == Verdict::need_more);
    start_tls(d);
  }
}

TEST_CASE("N16 smtp downstream: a password sent before TLS is not passed on",
          "[proto][smtp][security]") {
  constexpr std::string_view kSecret = "AGNhbmFyeQBjYW5hcnk=";
  DownstreamDialogue d{"smtp", kTerminate};
  d.client("AUTH PLAIN " + std::string(kSecret) + "\r\n").to_server("").to_client(kTlsFirst);
  d.client("AUTH LOGIN\r\n" + std::string(kSecret) + "\r\n").to_server("");
  d.to_client(std::string(kTlsFirst) + std::string(kTlsFirst));

  d.client("AUTH PLAIN " + std::string(kSecret) + "\n").to_server("").to_client(kTlsFirst);

  DownstreamDialogue malformed{"smtp", kTerminate};
  malformed.client("AUTH PLAIN AGNhbmFyeQBjYW5hcnk=\rx").to_server("").to_client("");
  CHECK(malformed.error().code == Errc::client_protocol);
  CHECK(malformed.error().evidence.empty());
  CHECK(malformed.error().reason.find(kSecret) == std::string::npos);
}

TEST_CASE("A1 A8 A9 smtp downstream: clear bytes after STARTTLS are left for the leg",
          "[proto][smtp][security]") {
  using namespace std::string_view_literals;
  for (const auto injected : {"EHLO commandinjectiontester\r\n"sv, "NOOP\r\n"sv, "x"sv, "\n"sv,
                              "\x16\x03\x01\x02\x00\x01"sv, "STARTTLS\r\n"sv, "\0"sv}) {
    for (const auto& role : {kTerminate, kOffer}) {
      DownstreamDialogue d{"smtp", role};
      d.client("STARTTLS\r\n" + std::string(injected)).to_server("").to_client("");
      CHECK(d.client_verdict() == Verdict::start_tls);
      CHECK(d.unread_client() == injected);
    }
  }
}

TEST_CASE("A9 smtp downstream: STARTTLS may come byte by byte", "[proto][smtp][security]") {
  DownstreamDialogue d{"smtp", kTerminate};
  for (const char c : std::string("STARTTLS\r")) {
    d.client({&c, 1}).to_client("");
    CHECK(d.client_verdict() == Verdict::need_more);
  }
  d.client("\nNOOP\r\n").to_client("");
  CHECK(d.client_verdict() == Verdict::start_tls);
  CHECK(d.unread_client() == "NOOP\r\n");
}

TEST_CASE("A10 smtp downstream: only these forms of STARTTLS are accepted",
          "[proto][smtp][security]") {
  for (const auto& role : {kTerminate, kOffer}) {
    for (const auto* command :
         {"starttls\r\n", "StartTLS\r\n", "STARTTLS \r\n", "STARTTLS\t \r\n"}) {
      DownstreamDialogue d{"smtp", role};
      d.client(command).to_server("").to_client("");
      CHECK(d.client_verdict() == Verdict::start_tls);
    }
    for (const auto* command : {"STARTTLS x\r\n", "starttls  now please\r\n"}) {
      DownstreamDialogue d{"smtp", role};
      d.client(command).to_server("").to_client("501 5.5.4 STARTTLS takes no argument\r\n");
      CHECK(d.client_verdict() == Verdict::need_more);
      start_tls(d);
    }
  }
}

TEST_CASE("P6 P7 smtp downstream: a NUL or a stray CR does not end a line",
          "[proto][smtp][security]") {
  using namespace std::string_view_literals;
  for (const auto bytes : {"STARTTLS\0\r\n"sv, "STAR\rTTLS\r\n"sv, "STARTTLS\r\r\n"sv}) {
    DownstreamDialogue d{"smtp", kTerminate};
    d.client(bytes).to_server("").to_client("");
    CHECK(d.error().code == Errc::client_protocol);
  }
}

TEST_CASE("A11 smtp downstream: STARTTLS may end a pipelined group", "[proto][smtp]") {
  DownstreamDialogue d{"smtp", kTerminate};
  d.client("EHLO x\r\nSTARTTLS\r\n").to_server("").to_client(kOwnList);
  CHECK(d.client_verdict() == Verdict::start_tls);
}

TEST_CASE("A14 smtp downstream: the proxy refuses STARTTLS inside TLS", "[proto][smtp][security]") {
  for (const auto& role : {kTerminate, kOffer}) {
    for (const auto* command : {"STARTTLS\r\n", "starttls x\r\n", " STARTTLS\r\n"}) {
      DownstreamDialogue d{"smtp", role};
      start_tls(d);
      d.client(command).to_server("").to_client(kTlsActive);
      CHECK(d.client_verdict() == Verdict::need_more);
      d.client("EHLO b\r\n").to_server("EHLO b\r\n");
      d.server("250 mx\r\n").to_client("250 mx\r\n");
      d.client(command).to_server("").to_client(kTlsActive);
    }
  }
}

TEST_CASE("A15 smtp downstream: a transaction before STARTTLS is refused",
          "[proto][smtp][security]") {
  DownstreamDialogue d{"smtp", kTerminate};
  d.client("EHLO a\r\nMAIL FROM:<x@y>\r\nRCPT TO:<z@y>\r\nSTARTTLS\r\n").to_server("");
  d.to_client(std::string(kOwnList) + std::string(kTlsFirst) + std::string(kTlsFirst));
  CHECK(d.client_verdict() == Verdict::start_tls);

  // If the client may stay in the clear, MAIL means that it has chosen to do so.
  DownstreamDialogue chosen{"smtp", kOffer};
  chosen.client("EHLO a\r\nMAIL FROM:<x@y>\r\nSTARTTLS\r\n").to_server("EHLO a\r\n");
  CHECK(chosen.client_verdict() == Verdict::relay);
  CHECK(chosen.unread_client() == "MAIL FROM:<x@y>\r\nSTARTTLS\r\n");
}

TEST_CASE("S1 smtp downstream: the client must say EHLO again inside TLS",
          "[proto][smtp][security]") {
  for (const auto& role : {kTerminate, kOffer}) {
    for (const auto* command :
         {"MAIL FROM:<a@b>\r\n", "AUTH PLAIN dGVzdA==\r\n", "BDAT 0 LAST\r\n"}) {
      for (const auto* hello : {"EHLO b\r\n", "HELO b\r\n", "LHLO b\r\n"}) {
        DownstreamDialogue d{"smtp", role};
        d.client("EHLO evil\r\n");
        if (role.downstream == TlsMode::opportunistic) {
          d.to_server("EHLO evil\r\n").server("250 mx\r\n");
        }
        (void)d.to_server("").take_to_client();
        start_tls(d);
        d.client(command).to_server("").to_client(kHelloFirst);
        CHECK(d.client_verdict() == Verdict::need_more);
        d.client("NOOP\r\n").to_server("NOOP\r\n").server("250 ok\r\n").to_client("250 ok\r\n");
        d.client(command).to_server("").to_client(kHelloFirst);
        d.client(std::string(hello) + command).to_server(hello).to_client("");
        CHECK(d.client_verdict() == Verdict::relay);
      }
    }
  }
  // No TLS is started in these sessions: the server decides.
  check_commits(terminating(TlsMode::implicit), "MAIL FROM:<a@b>\r\n");
  check_commits(kOffer, "MAIL FROM:<a@b>\r\n");
}

TEST_CASE("S1 smtp downstream: the message of a refused BDAT is not read as commands",
          "[proto][smtp][security]") {
  constexpr std::string_view kMessage = "Subject: x\r\nEHLO evil\r\nMAIL FROM:<evil@x>\r\n";
  for (const auto& role : {kTerminate, kOffer}) {
    DownstreamDialogue d{"smtp", role};
    start_tls(d);
    d.client("BDAT " + std::to_string(kMessage.size()) + " LAST\r\n" + std::string(kMessage))
        .to_server("")
        .to_client(kHelloFirst);
    CHECK(d.client_verdict() == Verdict::need_more);
    d.client("EHLO b\r\n").to_server("EHLO b\r\n");
    DownstreamDialogue endless{"smtp", role};
    start_tls(endless);
    endless.client("BDAT 18446744073709551615\r\nEHLO x\r\n").to_server("").to_client(kHelloFirst);
    DownstreamDialogue wrong{"smtp", role};
    start_tls(wrong);
    wrong.client("BDAT x\r\nNOOP\r\n").to_server("NOOP\r\n").to_client(kHelloFirst);
  }
}

TEST_CASE("S4 smtp downstream: the list in the clear and the list inside TLS differ",
          "[proto][smtp][caps][security]") {
  constexpr std::string_view kListed = "250-mx\r\n250-STARTTLS\r\n250 AUTH PLAIN\r\n";
  DownstreamDialogue d{"smtp", kTerminate};
  d.client("EHLO a\r\n").to_server("").to_client(kOwnList);
  start_tls(d);
  d.client("EHLO a\r\n").to_server("EHLO a\r\n");
  d.server(kListed).to_client("250-mx\r\n250 AUTH PLAIN\r\n");

  DownstreamDialogue offered{"smtp", kOffer};
  offered.client("EHLO a\r\n").to_server("EHLO a\r\n");
  offered.server(kListed).to_client("250-mx\r\n250-STARTTLS\r\n250 AUTH PLAIN\r\n");
  start_tls(offered);
  offered.client("EHLO a\r\n").to_server("EHLO a\r\n");
  offered.server(kListed).to_client("250-mx\r\n250 AUTH PLAIN\r\n");
}

TEST_CASE("P20 smtp downstream: twenty refusals before TLS end the session",
          "[proto][smtp][security]") {
  constexpr const char* kCommands[] = {"FOO\r\n", "MAIL FROM:<a>\r\n", "STARTTLS x\r\n"};
  DownstreamDialogue d{"smtp", kTerminate};
  for (int i = 0; i < 19; ++i) d.client(kCommands[i % 3]).client("NOOP\r\n");
  CHECK(!d.failed());
  d.client("FOO\r\n").to_server("");
  CHECK(d.error().code == Errc::too_many_errors);
}

TEST_CASE("P8 smtp downstream: AUTH may be 12288 bytes long, other lines 8192", "[proto][smtp]") {
  const auto line = [](std::string_view command, std::size_t size) {
    return std::string(command) + std::string(size - command.size() - 2, 'x') + "\r\n";
  };
  check_commits(kStarttls, line("AUTH PLAIN ", 12288));
  check_commits(kStarttls, line(" auth\tPLAIN ", 12288));
  DownstreamDialogue refused{"smtp", kTerminate};
  refused.client(line("AUTH PLAIN ", 12288)).to_server("").to_client(kTlsFirst);

  for (const auto& bytes : {line("NOOP ", 8193), line("AUTHX ", 8193), line("NOOP AUTH ", 8193),
                            line("\x01 AUTHENTICATE", 8193),
                            // Blank up to the length at which other lines end, so its verb is not
                            // seen.
                            std::string(8192, ' ') + "AUTH PLAIN x\r\n"}) {
    DownstreamDialogue d{"smtp", kStarttls};
    d.client(bytes).to_server("").to_client("");
    CHECK(d.error().code == Errc::client_protocol);
    CHECK(d.error().evidence.empty());
  }
}

TEST_CASE("smtp downstream: D9: a longer AUTH commits by its verb, unless it is refused",
          "[proto][smtp]") {
  const std::string longest = "AUTH PLAIN " + std::string(12288 - 11, 'x');
  DownstreamDialogue unfinished{"smtp", kStarttls};
  unfinished.client(longest.substr(0, 12287)).to_server("");
  CHECK(unfinished.client_verdict() == Verdict::need_more);
  unfinished.client("x").to_server("");
  CHECK(unfinished.client_verdict() == Verdict::relay);
  CHECK(unfinished.unread_client() == longest);
  check_commits(kStarttls, "AUTH XOAUTH2 " + std::string(90'000, 'x') + "\r\n");
  check_commits(kStarttls, "X-EXPS NTLM " + std::string(12288, 'x') + "\r\n");

  auto barred = kStarttls;
  barred.client_certificate = true;
  DownstreamDialogue external{"smtp", barred};
  external.client("AUTH EXTERNAL " + std::string(12288, 'x')).to_server("");
  CHECK(external.error().code == Errc::client_protocol);

  DownstreamDialogue no_hello{"smtp", kTerminate};
  start_tls(no_hello);
  no_hello.client(longest).to_server("");
  CHECK(no_hello.error().code == Errc::client_protocol);
}

TEST_CASE("K4 smtp downstream: a MAIL line too long to be seen whole needs TLS on both legs",
          "[proto][smtp][security]") {
  const auto mail = "MAIL FROM:<" + std::string(kMaxLine, 'x') + "> REQUIRETLS\r\n";
  DownstreamDialogue clear{"smtp", kStarttls};
  clear.client(mail).to_server("");
  CHECK(clear.error().code == Errc::client_protocol);

  DownstreamDialogue secured{"smtp", terminating(TlsMode::opportunistic, TlsMode::implicit)};
  start_tls(secured);
  secured.client("EHLO a\r\n").server("250 mx\r\n").to_client("250 mx\r\n");
  secured.client(mail).to_server("EHLO a\r\n");
  CHECK(secured.client_verdict() == Verdict::relay);
}

TEST_CASE("smtp downstream: S6: unsolicited lines of the server wait until the client has TLS",
          "[proto][smtp]") {
  DownstreamDialogue closing{"smtp", kTerminate};
  closing.server("421-a\r\n421 b\r\n").to_client("");
  closing.client("NOOP\r\nSTARTTLS\r\nMORE").to_server("").to_client("250 2.0.0 OK\r\n");
  CHECK(closing.client_verdict() == Verdict::start_tls);
  CHECK(closing.unread_client() == "MORE");
  CHECK(closing.unread_server() == "421-a\r\n421 b\r\n");
  closing.secured().to_client("421-a\r\n421 b\r\n");

  DownstreamDialogue quitting{"smtp", kTerminate};
  quitting.server("421-a\r\n").client("QUIT\r\n").to_client("221 2.0.0 Bye\r\n");
  CHECK(quitting.client_verdict() == Verdict::finish);
  CHECK(quitting.unread_server() == "421-a\r\n");

  DownstreamDialogue meanwhile{"smtp", kTerminate};
  meanwhile.client("STARTTLS\r\n").server("421 closing\r\n").to_client("");
  meanwhile.secured().to_client("421 closing\r\n");
}

// ---------------------------------------------------------------- downstream, opportunistic

TEST_CASE("smtp downstream: opportunistic passes commands and offers STARTTLS", "[proto][smtp]") {
  DownstreamDialogue d{"smtp", kOffer};
  d.client("EHLO a\r\n").to_server("EHLO a\r\n").to_client("");
  d.server("250-mx\r\n250 SIZE 5\r\n").to_client("250-mx\r\n250-STARTTLS\r\n250 SIZE 5\r\n");
  d.client("NOOP\r\n").to_server("NOOP\r\n").server("250 ok\r\n").to_client("250 ok\r\n");
  start_tls(d);
  d.client("EHLO a\r\n").to_server("EHLO a\r\n");
  d.server("250-mx\r\n250 SIZE 5\r\n").to_client("250-mx\r\n250 SIZE 5\r\n");
}

TEST_CASE("smtp downstream: a client that commits in the clear stays in the clear",
          "[proto][smtp]") {
  for (const auto* command : {"MAIL FROM:<a@b>\r\n", "AUTH PLAIN dGVzdA==\r\n", "BDAT 1\r\n"}) {
    check_commits(kOffer, command);
  }
}

TEST_CASE("A11 smtp downstream: STARTTLS waits for the server's replies to earlier commands",
          "[proto][smtp][security]") {
  DownstreamDialogue d{"smtp", kOffer};
  d.client("EHLO x\r\nNOOP\r\nSTARTTLS\r\n").to_server("EHLO x\r\nNOOP\r\n").to_client("");
  CHECK(d.client_verdict() == Verdict::need_more);
  CHECK(d.state() == "starttls");
  d.server("250-mx\r\n250 SIZE\r\n").to_client("250-mx\r\n250-STARTTLS\r\n250 SIZE\r\n");
  CHECK(d.server_verdict() == Verdict::need_more);
  d.server("250-ok\r\n").to_client("250-ok\r\n");
  CHECK(d.server_verdict() == Verdict::need_more);
  d.server("250 ok\r\n").to_client("250 ok\r\n");
  CHECK(d.server_verdict() == Verdict::start_tls);
  CHECK(d.unread_client().empty());
  d.secured();
  d.client("MAIL FROM:<a>\r\n").to_server("").to_client(kHelloFirst);
}

TEST_CASE("A1 smtp downstream: while STARTTLS waits, nothing after it is read",
          "[proto][smtp][security]") {
  DownstreamDialogue d{"smtp", kOffer};
  d.client("EHLO x\r\nSTARTTLS\r\nNOOP\r\n").to_server("EHLO x\r\n").to_client("");
  d.client("MAIL FROM:<a>\r\n").to_server("").to_client("");
  CHECK(d.client_verdict() == Verdict::need_more);
  d.server("250 mx\r\n").to_client("250-mx\r\n250 STARTTLS\r\n");
  CHECK(d.server_verdict() == Verdict::start_tls);
  CHECK(d.unread_client() == "NOOP\r\nMAIL FROM:<a>\r\n");
}

TEST_CASE("M5 smtp downstream: the proxy's refusals before STARTTLS wait for their turn",
          "[proto][smtp]") {
  DownstreamDialogue d{"smtp", kOffer};
  d.client("HELP\r\nXCLIENT a\r\nSTARTTLS\r\n").to_server("HELP\r\n").to_client("");
  d.server("214 ok\r\n").to_client("214 ok\r\n550 5.7.1 Command not allowed\r\n");
  CHECK(d.server_verdict() == Verdict::start_tls);
}

// ---------------------------------------------------------------- capability lists

TEST_CASE("K1 K3 smtp list: STARTTLS is removed from any place in the list",
          "[proto][smtp][caps]") {
  CHECK(list_for_client("250-mx\r\n250-STARTTLS\r\n250 SIZE 5\r\n") == "250-mx\r\n250 SIZE 5\r\n");
  CHECK(list_for_client("250-mx\r\n250-Size 5\r\n250 starttls\r\n") == "250-mx\r\n250 Size 5\r\n");
  CHECK(list_for_client("250-mx\r\n250 STARTTLS\r\n") == "250 mx\r\n");
  CHECK(list_for_client("250-mx\r\n250-STARTTLS foo\r\n250-XCLIENT\r\n250 STARTTLS\r\n") ==
        "250 mx\r\n");
}

TEST_CASE("K3 smtp list: the first line stays, with any text", "[proto][smtp][caps]") {
  CHECK(list_for_client("250 STARTTLS\r\n") == "250 STARTTLS\r\n");
  CHECK(list_for_client("250-STARTTLS\r\n250 XCLIENT\r\n") == "250 STARTTLS\r\n");
  CHECK(list_for_client("250\r\n") == "250\r\n");
  CHECK(list_for_client("250-\r\n250 STARTTLS\r\n") == "250 \r\n");
}

TEST_CASE("smtp list: everything else passes unchanged", "[proto][smtp][caps]") {
  for (const auto* list :
       {"250 mx\r\n", "250-mx\r\n250-  odd  Spacing \r\n250-\r\n250 \xc3\xa9\r\n",
        "250-mx\r\n250-X-STARTTLS\r\n250-STARTTLSX\r\n250-HELP STARTTLS\r\n250 AUTH PLAIN  "
        "LOGIN\r\n",
        "250-mx\r\n250-AUTH\r\n250-AUTH=\r\n250\r\n",
        "250-mx\r\n250-CHUNKING\r\n250 SIZE 10\r\n"}) {
    CHECK(list_for_client(list) == list);
  }
  const auto implicit = settings(TlsMode::implicit);
  CHECK(list_for_client("250-mx\n250-STARTTLS\r\n250-A\n250 B\n", implicit) ==
        "250-mx\n250-A\n250 B\n");
}

TEST_CASE("K2 smtp list: only a 250 reply is a list", "[proto][smtp][caps]") {
  for (const auto* reply : {"500 unknown\r\n", "421 STARTTLS\r\n", "550-no\r\n550 STARTTLS\r\n",
                            "251-mx\r\n251 STARTTLS\r\n"}) {
    CHECK(list_for_client(reply) == reply);
  }
  DownstreamDialogue d{"smtp", kStarttls};
  d.client("HELP\r\n").server("250-mx\r\n250 STARTTLS\r\n").to_client("250-mx\r\n250 STARTTLS\r\n");
  d.client("LHLO x\r\n").server("250-mx\r\n250 STARTTLS\r\n").to_client("250 mx\r\n");
  d.client("ehlo x\r\n").server("250-mx\r\n250 STARTTLS\r\n").to_client("250 mx\r\n");
}

TEST_CASE("smtp list: D8: STARTTLS is the second line, and the last one only of two",
          "[proto][smtp][lmtp][caps]") {
  for (const auto* protocol : {"smtp", "lmtp"}) {
    for (const auto* hello : {"EHLO a\r\n", "LHLO a\r\n"}) {
      DownstreamDialogue d{protocol, kOffer};
      d.client(hello).server("250-mx\r\n250-SIZE 5\r\n250-STARTTLS\r\n250 8BITMIME\r\n");
      d.to_client("250-mx\r\n250-STARTTLS\r\n250-SIZE 5\r\n250 8BITMIME\r\n");
      d.client(hello).server("250-mx\r\n250 STARTTLS\r\n");
      d.to_client("250-mx\r\n250 STARTTLS\r\n");
      DownstreamDialogue own{protocol, kTerminate};
      own.client(hello).to_server("").to_client(kOwnList);
    }
  }
}

TEST_CASE("K2 K3 G15 smtp list: STARTTLS is offered once, in a 250 reply only",
          "[proto][smtp][caps]") {
  CHECK(list_for_client("250 mx\r\n", kOffer) == "250-mx\r\n250 STARTTLS\r\n");
  CHECK(list_for_client("250\r\n", kOffer) == "250-\r\n250 STARTTLS\r\n");
  CHECK(list_for_client("250-mx\r\n250-starttls\r\n250 SIZE\r\n", kOffer) ==
        "250-mx\r\n250-STARTTLS\r\n250 SIZE\r\n");
  CHECK(list_for_client("250-mx\r\n250 STARTTLS\r\n", kOffer) == "250-mx\r\n250 STARTTLS\r\n");
  CHECK(list_for_client("250-mx\n250-A\n250\n", kOffer) == "250-mx\n250-STARTTLS\r\n250-A\n250\n");
  for (const auto* reply : {"500 unknown\r\n", "421 closing\r\n", "550-no\r\n550 SIZE\r\n"}) {
    CHECK(list_for_client(reply, kOffer) == reply);
  }
  for (const auto* command : {"HELO a\r\n", "NOOP\r\n", "HELP\r\n"}) {
    DownstreamDialogue d{"smtp", kOffer};
    d.client(command).server("250-mx\r\n250 SIZE\r\n").to_client("250-mx\r\n250 SIZE\r\n");
  }
}

TEST_CASE("K4 smtp: REQUIRETLS is offered once both legs have TLS",
          "[proto][smtp][caps][security]") {
  constexpr std::string_view kListed = "250-mx\r\n250 REQUIRETLS\r\n";
  constexpr std::string_view kMail = "MAIL FROM:<a@b> REQUIRETLS\r\n";
  constexpr std::string_view kRefusal = "555 5.5.4 REQUIRETLS is not supported here\r\n";
  for (const auto upstream : {TlsMode::starttls, TlsMode::implicit, TlsMode::none}) {
    const bool clear = upstream == TlsMode::none;
    DownstreamDialogue d{"smtp", terminating(TlsMode::opportunistic, upstream)};
    d.client("EHLO a\r\n").server(kListed).to_client("250-mx\r\n250 STARTTLS\r\n");
    d.client(kMail).to_server("EHLO a\r\n").to_client(kRefusal);
    start_tls(d);
    d.client("EHLO a\r\n").server(kListed).to_client(clear ? "250 mx\r\n" : kListed);
    d.client(kMail).to_server("EHLO a\r\n").to_client(clear ? kRefusal : "");
    CHECK(d.client_verdict() == (clear ? Verdict::need_more : Verdict::relay));
  }
}

TEST_CASE("K4 smtp list: REQUIRETLS is removed if a leg is clear",
          "[proto][smtp][caps][security]") {
  constexpr auto* kListed = "250-mx\r\n250-REQUIRETLS\r\n250 SIZE\r\n";
  constexpr auto* kWithout = "250-mx\r\n250 SIZE\r\n";
  CHECK(list_for_client(kListed, kStarttls) == kWithout);
  auto role = settings(TlsMode::starttls);
  role.downstream = TlsMode::implicit;
  CHECK(list_for_client(kListed, role) == kListed);
  // The same after an opportunistic leg has fallen back: the session's mode is then `none`.
  role.upstream = TlsMode::none;
  CHECK(list_for_client(kListed, role) == kWithout);
}

TEST_CASE("K4 smtp downstream: mail that requires TLS is refused if a leg is clear",
          "[proto][smtp][caps][security]") {
  constexpr auto* kRefusal = "555 5.5.4 REQUIRETLS is not supported here\r\n";
  for (const auto* command :
       {"MAIL FROM:<a@b> REQUIRETLS\r\n", "mail from:<a@b> SIZE=5 requiretls BODY=8BITMIME\r\n",
        "MAIL FROM:<a@b>\tREQUIRETLS\r\n", "MAIL FROM:a REQUIRETLS=1 X=>\r\n"}) {
    check_refused(kStarttls, command, kRefusal);
  }
  check_commits(kStarttls, "MAIL FROM:<REQUIRETLS@b> X=REQUIRETLS\r\n");
  auto bridge = kStarttls;
  bridge.downstream = TlsMode::implicit;
  check_commits(bridge, "MAIL FROM:<a@b> REQUIRETLS\r\n");
  bridge.upstream = TlsMode::none;
  check_refused(bridge, "MAIL FROM:<a@b> REQUIRETLS\r\n", kRefusal);
}

TEST_CASE(
    "K5 K11 smtp list: mechanisms with channel binding are removed from both kinds of AUTH line",
    "[proto][smtp][caps][security]") {
  CHECK(list_for_client("250-mx\r\n250-AUTH SCRAM-SHA-1-PLUS PLAIN scram-sha-256-plus Login\r\n"
                        "250-AUTH=SCRAM-SHA-1-PLUS PLAIN\r\n250 SIZE\r\n") ==
        "250-mx\r\n250-AUTH PLAIN Login\r\n250-AUTH=PLAIN\r\n250 SIZE\r\n");
  CHECK(list_for_client("250-mx\r\n250-AUTH SCRAM-SHA-1-PLUS\r\n250 AUTH=X-PLUS\r\n") ==
        "250 mx\r\n");
  CHECK(list_for_client("250-mx\r\n250-auth=PLAIN X-PLUS\r\n250 AUTH PLUS\r\n") ==
        "250-mx\r\n250-auth=PLAIN\r\n250 AUTH PLUS\r\n");
}

TEST_CASE("K7 smtp: EXTERNAL is not offered or accepted if the proxy's certificate would log in",
          "[proto][smtp][caps][security]") {
  constexpr auto* kListed = "250-mx\r\n250-AUTH PLAIN EXTERNAL\r\n250 AUTH=external\r\n";
  auto role = kStarttls;
  CHECK(list_for_client(kListed, role) == kListed);
  check_commits(role, "AUTH EXTERNAL =\r\n");
  role.client_certificate = true;
  CHECK(list_for_client(kListed, role) == "250-mx\r\n250 AUTH PLAIN\r\n");
  for (const auto* command : {"AUTH EXTERNAL\r\n", "auth  external =\r\n", "AUTH\tEXTERNAL\r\n"}) {
    check_refused(role, command, "504 5.5.4 Mechanism not available\r\n");
  }
  check_commits(role, "AUTH PLAIN EXTERNAL\r\n");
}

TEST_CASE("smtp downstream: D10: Exchange's own TLS is removed, and its AUTH is edited",
          "[proto][smtp]") {
  CHECK(list_for_client("250-mx\r\n250-X-ANONYMOUSTLS\r\n250-AUTH NTLM\r\n"
                        "250-x-exps GSSAPI NTLM X-PLUS\r\n250-X-EXPS=LOGIN X-PLUS\r\n"
                        "250-X-EXPS X-PLUS\r\n250 X-EXPSX\r\n") ==
        "250-mx\r\n250-AUTH NTLM\r\n250-x-exps GSSAPI NTLM\r\n250-X-EXPS=LOGIN\r\n"
        "250 X-EXPSX\r\n");
  auto role = kStarttls;
  role.client_certificate = true;
  CHECK(list_for_client("250-mx\r\n250 X-EXPS EXTERNAL NTLM\r\n", role) ==
        "250-mx\r\n250 X-EXPS NTLM\r\n");
  check_refused(role, "X-EXPS EXTERNAL\r\n", "504 5.5.4 Mechanism not available\r\n");
}

TEST_CASE("smtp downstream: TURN, ETRN and ATRN commit", "[proto][smtp]") {
  for (const auto* command : {"TURN\r\n", "etrn example.org\r\n", "ATRN example.org\r\n"}) {
    check_commits(kStarttls, command);
  }
  check_passed(kStarttls, "RETURN\r\n");
}

TEST_CASE("K12 smtp: XCLIENT, XFORWARD and PIPECONNECT are refused, and not offered",
          "[proto][smtp][caps][security]") {
  CHECK(
      list_for_client("250-mx\r\n250-XCLIENT NAME ADDR\r\n250-xforward NAME\r\n250-PIPECONNECT\r\n"
                      "250-X_PIPE_CONNECT\r\n250-PIPE_CONNECT\r\n250 PIPELINING\r\n") ==
      "250-mx\r\n250 PIPELINING\r\n");
  for (const auto* command : {"XCLIENT ADDR=1.2.3.4\r\n", "xforward NAME=x\r\n", " XCLIENT a\r\n",
                              "XCLIENT\tADDR=1.2.3.4\r\n", "\vXCLIENT\fADDR=1.2.3.4\r\n"}) {
    check_refused(kStarttls, command, "550 5.7.1 Command not allowed\r\n");
  }
}
