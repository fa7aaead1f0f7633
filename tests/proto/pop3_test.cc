#include <string>
#include <string_view>

#include "lib/proto/lines.h"
#include "lib/proto/protocols.h"
#include "tests/support/catch.h"
#include "tests/support/dialogue.h"
#include "tests/support/roles.h"

// Names begin with ids of attacks and edge cases. The letters mean: A command injection, B response
// injection, N negotiation, T tampering, S session fixation, G general, P parser, K capabilities.

using namespace starttls;
using namespace starttls::proto;
using starttls::test::downstream;
using starttls::test::DownstreamDialogue;
using starttls::test::upstream;
using starttls::test::UpstreamDialogue;

namespace {

constexpr std::string_view kGreeting = "+OK pop.example ready\r\n";
constexpr std::string_view kGoAhead = "+OK Begin TLS negotiation\r\n";
constexpr std::string_view kActive = "-ERR Command not permitted when TLS active\r\n";

const RoleSettings kStarttls = upstream(TlsMode::starttls);
const RoleSettings kOpportunistic = upstream(TlsMode::opportunistic);

DownstreamDialogue greeted(const RoleSettings& role) {
  return DownstreamDialogue{"pop3", role, kGreeting};
}

/// Returns the error that this greeting gives.
Error greeted_with(std::string_view bytes, const RoleSettings& role = kStarttls) {
  UpstreamDialogue d{"pop3", role};
  d.peer(bytes).sends("");
  return d.error();
}

/// Returns the error that this answer to our STLS gives.
Errc answered_with(std::string_view bytes, const RoleSettings& role = kStarttls) {
  UpstreamDialogue d{"pop3", role};
  d.peer("+OK\r\n").sends("STLS\r\n");
  d.peer(bytes).sends("");
  return d.error().code;
}

/// Returns the server's answer to CAPA as the client sees it.
std::string list_for_client(std::string_view list,
                            const RoleSettings& role = downstream(TlsMode::none)) {
  auto d = greeted(role);
  d.client("CAPA\r\n").to_server("CAPA\r\n").to_client("");
  return d.server(list).take_to_client();
}

void check_refused(const RoleSettings& role, std::string_view command, std::string_view refusal) {
  auto d = greeted(role);
  d.client(command).to_server("").to_client(refusal);
  CHECK(d.client_verdict() == Verdict::need_more);
  d.client("NOOP\r\n").to_server("NOOP\r\n");
  d.server("+OK\r\n").to_client("+OK\r\n");
}

void check_commits(const RoleSettings& role, std::string_view command) {
  auto d = greeted(role);
  d.client(command).to_server("").to_client("");
  CHECK(d.client_verdict() == Verdict::relay);
  CHECK(d.server_verdict() == Verdict::relay);
  CHECK(d.unread_client() == command);
}

/// Plays the client's STLS and its handshake.
void secure(DownstreamDialogue& d) {
  d.client("STLS\r\n").to_server("").to_client("");
  REQUIRE(d.client_verdict() == Verdict::start_tls);
  d.secured().to_client("");
}

}  // namespace

// ---------------------------------------------------------------- upstream

TEST_CASE("pop3 upstream: the role conducts STLS, then the client may be greeted",
          "[proto][pop3]") {
  for (const auto& role : {kStarttls, kOpportunistic}) {
    UpstreamDialogue d{"pop3", role};
    CHECK(d.state() == "greeting");
    d.peer("+OK pop.example ready\r\n").sends("STLS\r\n");
    CHECK(d.state() == "starttls");
    d.peer("+OK begin\r\n").sends("");
    CHECK(d.verdict() == Verdict::start_tls);
    CHECK(d.state() == "tls");
    d.secured().sends("");
    CHECK(d.verdict() == Verdict::greeted);
    CHECK(d.state() == "done");
    CHECK(d.greeting() == "+OK pop.example ready\r\n");
    CHECK(d.fallback_reason().empty());
  }
}

TEST_CASE("pop3 upstream: a leg that does not upgrade passes its greeting on unchanged",
          "[proto][pop3]") {
  for (const auto mode : {TlsMode::none, TlsMode::implicit}) {
    for (const std::string_view line :
         {"+OK \xc3\xa9tat \x1b[1m <1.2@x>\r\n", "+OK\r\n", "+OK old\n"}) {
      UpstreamDialogue d{"pop3", upstream(mode)};
      d.peer(line).sends("");
      CHECK(d.verdict() == Verdict::greeted);
      CHECK(d.greeting() == line);
    }
    UpstreamDialogue refused{"pop3", upstream(mode)};
    refused.peer("-ERR \x1b no\r\n");
    CHECK(refused.error().code == Errc::greeting_refused);
    CHECK(refused.greeting() == "-ERR \x1b no\r\n");
  }
}

TEST_CASE("B5 pop3 upstream: bytes after the go-ahead stay unread for the leg to refuse",
          "[proto][pop3][security]") {
  for (const std::string_view injected :
       {"+OK\r\nPLAIN\r\nLOGIN\r\n.\r\n", "\xff\xfe", "+", "\n"}) {
    UpstreamDialogue d{"pop3", kStarttls};
    d.peer("+OK\r\n").peer("+OK Begin\r\n" + std::string(injected));
    CHECK(d.verdict() == Verdict::start_tls);
    CHECK(d.unread() == injected);
  }
}

TEST_CASE("B10 G12 pop3 upstream: a refusal followed by a fake session does not reach the client",
          "[proto][pop3][security]") {
  constexpr std::string_view kFake = "-ERR no TLS\r\n+OK user\r\n+OK logged in\r\n";
  CHECK(answered_with(kFake, kStarttls) == Errc::tls_refused);
  CHECK(answered_with(kFake, kOpportunistic) == Errc::attack);
}

TEST_CASE("B11 B12 N12 pop3 upstream: replies before their commands are an attack",
          "[proto][pop3][security]") {
  for (const auto& role : {kStarttls, kOpportunistic}) {
    for (const std::string_view flight :
         {"+OK\r\n+OK begin\r\n", "+OK\r\n+",
          "+OK 2 messages (320 octets)\r\n1 120\r\n2 200\r\n.\r\n"}) {
      UpstreamDialogue d{"pop3", role};
      d.peer(flight);
      CHECK(d.error().code == Errc::attack);
    }
  }
  UpstreamDialogue listing{"pop3", kStarttls};  // the rest comes in its own segment
  listing.peer("+OK 2 messages (320 octets)\r\n").peer("1 120\r\n2 200\r\n.\r\n");
  CHECK(listing.error().code == Errc::protocol);
}

TEST_CASE("B13 P2 pop3 upstream: every byte may come alone", "[proto][pop3]") {
  UpstreamDialogue d{"pop3", kStarttls};
  for (const char c : std::string("+OK ready\r\n")) d.peer({&c, 1});
  d.sends("STLS\r\n");
  for (const char c : std::string("+OK go\r")) d.peer({&c, 1});
  CHECK(d.verdict() == Verdict::need_more);
  d.peer("\n");
  CHECK(d.verdict() == Verdict::start_tls);
}

TEST_CASE("N9 pop3 upstream: a refused STLS ends the session, with any code",
          "[proto][pop3][security]") {
  for (const std::string_view answer :
       {"-ERR\r\n", "-ERR no\r\n", "-ERR [sys/perm] no\r\n", "-ERR [SYS/TEMP] +OK\r\n"}) {
    CHECK(answered_with(answer) == Errc::tls_refused);
  }
  UpstreamDialogue d{"pop3", kStarttls};
  d.peer("+OK\r\n").peer("+OK [sys/perm] odd, but a yes\r\n");
  CHECK(d.verdict() == Verdict::start_tls);
}

TEST_CASE("N10 pop3 upstream: only +OK with a space or the line's end after it is a yes",
          "[proto][pop3][security]") {
  for (const std::string_view line :
       {"+Okay, do your thing.", "+OKAY", "+ok", "+Ok begin", "+OK\tbegin", " +OK", "+", "",
        "OK begin", "-OK", "+ERR", "-err no", "-ERRNO", "* OK", "220 go", "+Do you even care?"}) {
    const auto whole = std::string(line) + "\r\n";
    CHECK(greeted_with(whole).code == Errc::protocol);
    CHECK(answered_with(whole) == Errc::protocol);
    CHECK(answered_with(whole, kOpportunistic) == Errc::protocol);
  }
  UpstreamDialogue d{"pop3", kStarttls};
  d.peer("+OK\r\n").sends("STLS\r\n");
  d.peer("+OK\r\n");
  CHECK(d.verdict() == Verdict::start_tls);
}

TEST_CASE("N10 pop3 upstream: a greeting that is not a welcome ends the session", "[proto][pop3]") {
  for (const auto& role : {kStarttls, kOpportunistic}) {
    const auto error = greeted_with(
        "-ERR [SYS/PERM] go \x1b"
        "away\r\n",
        role);
    CHECK(error.code == Errc::greeting_refused);
    CHECK(error.reason == "server says: -ERR [SYS/PERM] go away");
  }
  UpstreamDialogue d{"pop3", kStarttls};
  d.peer("-ERR no\r\n");
  CHECK(d.greeting().empty());
}

TEST_CASE(
    "N11 pop3 upstream: an APOP stamp stays part of the greeting, unless the text is suppressed",
    "[proto][pop3][security]") {
  auto role = kStarttls;
  for (const bool wanted : {true, false}) {
    role.greeting_text = wanted;
    UpstreamDialogue d{"pop3", role};
    d.peer("+OK ready <1234.123456789@example.org>\r\n").peer("+OK\r\n").secured();
    CHECK(d.greeting() ==
          (wanted ? "+OK ready <1234.123456789@example.org>\r\n" : "+OK proxy.example POP3\r\n"));
  }
}

TEST_CASE("P5 P6 P7 P8 pop3 upstream: bare LF, NUL, stray CR and endless lines end the session",
          "[proto][pop3][security]") {
  using namespace std::string_view_literals;
  for (const auto& line :
       {std::string("+OK\n"), std::string("+OK a\0b\r\n"sv), std::string("+O\rK\r\n"),
        std::string("+OK\r\r\n"), "+OK " + std::string(kMaxLine, 'x')}) {
    CHECK(greeted_with(line).code == Errc::protocol);
    CHECK(answered_with(line) == Errc::protocol);
  }
}

TEST_CASE("P9 T23 T24 pop3 upstream: only the printable text of a clear greeting is passed on",
          "[proto][pop3][security]") {
  const auto greeting = [](std::string_view heard) {
    UpstreamDialogue d{"pop3", kStarttls};
    d.peer(heard).peer("+OK\r\n").secured();
    return d.greeting();
  };
  CHECK(greeting("+OK \x1b[31;1;4mPOP3\x1b[0m ready\r\n") == "+OK [31;1;4mPOP3[0m ready\r\n");
  CHECK(greeting("+OK\r\n") == "+OK proxy.example POP3\r\n");
  CHECK(greeting("+OK " + std::string(5000, 'x') + "\r\n") ==
        "+OK " + std::string(506, 'x') + "\r\n");
}

TEST_CASE("pop3 upstream: opportunistic stays in the clear only if STLS is refused",
          "[proto][pop3]") {
  UpstreamDialogue d{"pop3", kOpportunistic};
  d.peer("+OK hi \x1b<1@x>\r\n").sends("STLS\r\n");
  d.peer("-ERR Unknown command\r\n").sends("");
  CHECK(d.verdict() == Verdict::greeted);
  CHECK(d.fallback_reason() == "server refused STLS");
  CHECK(d.greeting() == "+OK hi <1@x>\r\n");

  CHECK(greeted_with("-ERR\r\n", kOpportunistic).code == Errc::greeting_refused);
  CHECK(answered_with("what?\r\n", kOpportunistic) == Errc::protocol);
}

// ---------------------------------------------------------------- downstream, before commit

TEST_CASE("pop3 downstream: the commands of the prelude pass, other commands commit",
          "[proto][pop3]") {
  for (const auto mode : {TlsMode::none, TlsMode::implicit, TlsMode::opportunistic}) {
    const auto role = downstream(mode);
    for (const std::string_view command :
         {"CAPA\r\n", "capa\r\n", "NOOP\r\n", "QUIT\r\n", "HELP\r\n", "LANG\r\n", "LANG de\r\n",
          "UTF8\r\n", "Utf8 USER\r\n"}) {
      auto d = greeted(role);
      d.client(command).to_server(command).to_client("");
      CHECK(d.client_verdict() == Verdict::need_more);
    }
    for (const std::string_view command :
         {"USER a\r\n", "APOP a b\r\n", "AUTH PLAIN\r\n", "STAT\r\n", "CAPABILITY\r\n", "\r\n"}) {
      check_commits(role, command);
    }
  }
  check_commits(downstream(TlsMode::none), "USER a\n");
}

TEST_CASE("pop3 downstream: a list ends at its dot, if the command has a list", "[proto][pop3]") {
  auto d = greeted(downstream(TlsMode::none));
  d.client("LANG\r\nLANG de\r\nCAPA\r\nCAPA\r\nHELP\r\nUSER a\r\n");
  CHECK(d.client_verdict() == Verdict::relay);
  constexpr std::string_view kReplies =
      "+OK Languages\r\nen English\r\n-ERR is no reply here\r\n..\r\n.\r\n"
      "+OK de Deutsch\r\n"
      "-ERR no list\r\n"
      "+OK list\r\nTOP\r\n. \r\n.x\r\n.\r\n"
      "+OK help\r\n";
  d.server(std::string(kReplies) + "+OK user\r\n").to_client(kReplies);
  CHECK(d.server_verdict() == Verdict::relay);
  CHECK(d.unread_server() == "+OK user\r\n");
}

TEST_CASE("G2 P1 pop3 downstream: a client that sends all at once commits after its CAPA",
          "[proto][pop3]") {
  auto d = greeted(downstream(TlsMode::none));
  d.client("CAPA\r\nUSER a\r\nPASS b\r\n").to_server("CAPA\r\n");
  CHECK(d.client_verdict() == Verdict::relay);
  CHECK(d.unread_client() == "USER a\r\nPASS b\r\n");
  CHECK(d.server_verdict() == Verdict::need_more);
  CHECK(d.state() == "committed");
  d.server("+OK\r\nSTLS\r\nTOP\r\n.\r\n+OK us").to_client("+OK\r\nTOP\r\n.\r\n");
  CHECK(d.server_verdict() == Verdict::relay);
  CHECK(d.unread_server() == "+OK us");
}

TEST_CASE("G3 pop3 downstream: the proxy answers the client's own STLS",
          "[proto][pop3][security]") {
  for (const auto* command : {"STLS\r\n", "stls\r\n", "STLS \r\n", "STLS now\r\n", " STLS\r\n",
                              "\tSTLS\r\n", "STLS\t\r\n"}) {
    check_refused(downstream(TlsMode::none), command, "-ERR STLS is not available\r\n");
    check_refused(downstream(TlsMode::implicit), command, kActive);
  }
}

TEST_CASE("M5 pop3 downstream: the proxy's replies keep their place among the server's",
          "[proto][pop3]") {
  auto d = greeted(downstream(TlsMode::none));
  d.client("CAPA\r\nSTLS\r\nNOOP\r\nSTLS\r\n").to_server("CAPA\r\nNOOP\r\n").to_client("");
  d.server("+OK\r\nTOP\r\n").to_client("+OK\r\nTOP\r\n");
  d.server(".\r\n").to_client(".\r\n-ERR STLS is not available\r\n");
  d.server("+OK noop\r\n").to_client("+OK noop\r\n-ERR STLS is not available\r\n");
  d.server("-ERR idle for too long\r\n").to_client("-ERR idle for too long\r\n");  // unasked
}

TEST_CASE("P3 P6 pop3 downstream: a line that is not a reply ends the session",
          "[proto][pop3][security]") {
  using namespace std::string_view_literals;
  for (const auto reply : {"hello\r\n"sv, "+OKAY\r\n"sv, "\r\n"sv, "+ \r\n"sv, "+OK a\0\r\n"sv,
                           "+OK a\rb\r\n"sv, "+OK a\n"sv}) {
    auto d = greeted(downstream(TlsMode::none));
    d.client("CAPA\r\n").server(reply).to_client("");
    CHECK(d.error().code == Errc::protocol);
  }
}

TEST_CASE(
    "P6 P7 P8 pop3 downstream: a malformed command is the client's error, and its text is not "
    "passed on",
    "[proto][pop3][security]") {
  using namespace std::string_view_literals;
  for (const auto mode : {TlsMode::none, TlsMode::opportunistic, TlsMode::starttls}) {
    for (const auto& command : {std::string("STLS\0\r\n"sv), std::string("ST\rLS\r\n"),
                                std::string("STLS\r\r\n"), "NOOP " + std::string(kMaxLine, 'x')}) {
      auto d = greeted(downstream(mode));
      d.client(command).to_server("");
      CHECK(d.error().code == Errc::client_protocol);
      CHECK(d.error().evidence.empty());
    }
  }
}

TEST_CASE("P8 pop3 downstream: a list is held to 64 KiB, edited or not", "[proto][pop3]") {
  const std::string line = std::string(4000, 'x') + "\r\n";
  std::string endless = "+OK\r\n";
  while (endless.size() <= kMaxReply) endless += line;
  for (const auto* command : {"CAPA\r\n", "LANG\r\n"}) {
    auto d = greeted(downstream(TlsMode::none));
    d.client(command).server(endless);
    CHECK(d.error().code == Errc::protocol);
  }
  auto each = greeted(downstream(TlsMode::none));  // the limit is per reply, not per session
  const std::string list = "+OK\r\n" + line + ".\r\n";
  for (std::size_t size = 0; size <= kMaxReply; size += list.size()) {
    each.client("CAPA\r\n").server(list).to_client(list);
  }
  CHECK(!each.failed());
}

TEST_CASE("P20 pop3 downstream: twenty refusals end the session, ours or the server's",
          "[proto][pop3][security]") {
  auto ours = greeted(downstream(TlsMode::starttls));
  for (int i = 0; i < 19; ++i)
    ours.client("USER a\r\n").to_client("-ERR Must issue STLS first\r\n");
  ours.client("STLS x\r\n").to_server("").to_client("");
  CHECK(ours.error().code == Errc::too_many_errors);

  auto both = greeted(downstream(TlsMode::none));
  for (int i = 0; i < 19; ++i) {
    both.client("NOOP\r\n").to_server("NOOP\r\n");
    both.server("-ERR log in first\r\n").to_client("-ERR log in first\r\n");
  }
  CHECK(!both.failed());
  both.client("STLS\r\n");
  CHECK(both.error().code == Errc::too_many_errors);

  auto silent = greeted(downstream(TlsMode::none));  // commands without a reply are bounded
  std::string commands;
  for (int i = 0; i < 1000; ++i) commands += "NOOP\n";
  silent.client(commands).to_server(commands);
  silent.client("NOOP\n").to_server("");
  CHECK(silent.error().code == Errc::client_protocol);
}

// ---------------------------------------------------------------- downstream, STLS

TEST_CASE(
    "K9 S4 pop3 downstream starttls: before TLS the proxy answers, and the server gets nothing",
    "[proto][pop3][security]") {
  auto d = greeted(downstream(TlsMode::starttls));
  const auto says = [&d](std::string_view command, std::string_view answer) {
    d.client(command).to_server("").to_client(answer);
    CHECK(d.client_verdict() == Verdict::need_more);
  };
  says("CAPA\r\n", "+OK Capability list follows\r\nSTLS\r\n.\r\n");
  says("noop\r\nCAPA\r\n", "+OK\r\n+OK Capability list follows\r\nSTLS\r\n.\r\n");
  for (const auto* command : {"USER a\r\n", "AUTH PLAIN AGEAYg==\r\n", "APOP a b\r\n", "UTF8\r\n",
                              "HELP\r\n", "LANG\r\n", "XCLIENT a\r\n", "\r\n", "FOO\r\n"}) {
    says(command, "-ERR Must issue STLS first\r\n");
  }
  secure(d);
  d.client("CAPA\r\n").to_server("CAPA\r\n");
  d.server("+OK\r\nUSER\r\nSTLS\r\nSASL PLAIN\r\n.\r\n")
      .to_client("+OK\r\nUSER\r\nSASL PLAIN\r\n.\r\n");
  d.client("USER a\r\n");
  CHECK(d.client_verdict() == Verdict::relay);
  CHECK(d.server_verdict() == Verdict::relay);
}

TEST_CASE("G4 pop3 downstream starttls: QUIT before TLS is answered, and ends the session",
          "[proto][pop3]") {
  auto d = greeted(downstream(TlsMode::starttls));
  d.client("CAPA\r\nQUIT\r\nUSER a\r\n").to_server("");
  d.to_client("+OK Capability list follows\r\nSTLS\r\n.\r\n+OK Goodbye\r\n");
  CHECK(d.client_verdict() == Verdict::finish);
  CHECK(d.state() == "done");
}

TEST_CASE("A3 A6 A9 pop3 downstream: what waits behind STLS stays unread for the leg to refuse",
          "[proto][pop3][security]") {
  for (const auto mode : {TlsMode::starttls, TlsMode::opportunistic}) {
    for (const std::string_view injected :
         {"CAPA\r\n", "USER a\r\nPASS b\r\n", "N", "\r\n", "\0", "\x16\x03\x01"}) {
      auto d = greeted(downstream(mode));
      d.client("STLS\r\n" + std::string(injected)).to_server("").to_client("");
      CHECK(d.client_verdict() == Verdict::start_tls);
      CHECK(d.unread_client() == injected);
      CHECK(d.state() == "tls");
    }
    const auto role = find_protocol("pop3")->downstream(downstream(mode));
    CHECK(role->go_ahead() == kGoAhead);
    CHECK(role->injection_reply() == "-ERR STLS must be the last command\r\n");
  }
}

TEST_CASE("A10 P5 pop3 downstream: only these lines are an STLS", "[proto][pop3][security]") {
  for (const auto mode : {TlsMode::starttls, TlsMode::opportunistic}) {
    for (const auto* command : {"STLS\r\n", "stls\r\n", "Stls \r\n"}) {
      auto d = greeted(downstream(mode));
      d.client(command);
      CHECK(d.client_verdict() == Verdict::start_tls);
    }
    auto argument = greeted(downstream(mode));
    argument.client("STLS x\r\n").to_server("").to_client("-ERR STLS takes no argument\r\n");
    CHECK(argument.client_verdict() == Verdict::need_more);
  }
}

TEST_CASE("A11 pop3 downstream: STLS may end a pipelined group", "[proto][pop3]") {
  auto required = greeted(downstream(TlsMode::starttls));
  required.client("CAPA\r\nSTLS\r\n").to_client("+OK Capability list follows\r\nSTLS\r\n.\r\n");
  CHECK(required.client_verdict() == Verdict::start_tls);

  // The server's answers come first. Meanwhile nothing after the STLS is looked at.
  auto d = greeted(downstream(TlsMode::opportunistic));
  d.client("CAPA\r\nNOOP\r\nSTLS\r\nNOOP\r\n").to_server("CAPA\r\nNOOP\r\n").to_client("");
  CHECK(d.client_verdict() == Verdict::need_more);
  CHECK(d.state() == "starttls");
  d.client("USER a\r\n").to_server("");
  d.server("+OK\r\nTOP\r\n.\r\n").to_client("+OK\r\nTOP\r\nSTLS\r\n.\r\n");
  CHECK(d.server_verdict() == Verdict::need_more);
  d.server("+OK noop\r\n-ERR bye\r\n").to_client("+OK noop\r\n");
  CHECK(d.server_verdict() == Verdict::start_tls);
  CHECK(d.unread_client() == "NOOP\r\nUSER a\r\n");
  CHECK(d.unread_server() == "-ERR bye\r\n");
}

TEST_CASE("A14 pop3 downstream: STLS inside TLS is refused by the proxy",
          "[proto][pop3][security]") {
  for (const auto mode : {TlsMode::starttls, TlsMode::opportunistic}) {
    auto d = greeted(downstream(mode));
    secure(d);
    d.client("STLS\r\n").to_server("").to_client(kActive);
    d.client("CAPA\r\nSTLS\r\n").to_server("CAPA\r\n").to_client("");
    d.server("+OK\r\nSTLS\r\nTOP\r\n.\r\n").to_client("+OK\r\nTOP\r\n.\r\n" + std::string(kActive));
  }
}

TEST_CASE("S1 S4 pop3 downstream: nothing said in the clear is known after TLS",
          "[proto][pop3][security]") {
  auto d = greeted(downstream(TlsMode::opportunistic));
  for (int i = 0; i < 19; ++i) d.client("STLS x\r\n").to_client("-ERR STLS takes no argument\r\n");
  secure(d);
  for (int i = 0; i < 19; ++i) d.client("STLS\r\n").to_client(kActive);
  CHECK(!d.failed());
  // This list has no STLS, since the client could not use it: it comes before the commit, but after
  // TLS.
  d.client("CAPA\r\nUSER a\r\n").to_server("CAPA\r\n");
  d.server("+OK\r\n.\r\n").to_client("+OK\r\n.\r\n");
  CHECK(d.server_verdict() == Verdict::relay);
}

TEST_CASE("S1 pop3 downstream: STLS is refused after UTF8 in the clear",
          "[proto][pop3][security]") {
  auto d = greeted(downstream(TlsMode::opportunistic));
  d.client("UTF8\r\n").server("+OK\r\n").to_client("+OK\r\n");
  d.client("STLS\r\n").to_client("-ERR STLS is not permitted after UTF8\r\n");
  CHECK(d.client_verdict() == Verdict::need_more);
}

TEST_CASE("S2 pop3 downstream: a client that logs in without TLS stays in the clear",
          "[proto][pop3]") {
  auto d = greeted(downstream(TlsMode::opportunistic));
  d.client("USER a\r\nSTLS\r\n").to_server("").to_client("");
  CHECK(d.client_verdict() == Verdict::relay);
}

// ---------------------------------------------------------------- capability lists

TEST_CASE("K1 pop3 list: STLS is removed if it is not possible", "[proto][pop3][caps]") {
  for (const auto& role : {downstream(TlsMode::none), downstream(TlsMode::implicit),
                           downstream(TlsMode::none, TlsMode::implicit)}) {
    CHECK(list_for_client("+OK\r\nSTLS\r\nTOP\r\nstls\r\nXCLIENT ADDR\r\n.\r\n", role) ==
          "+OK\r\nTOP\r\n.\r\n");
  }
}

TEST_CASE("K2 G15 pop3 list: the proxy's STLS is added once, and never to a refusal",
          "[proto][pop3][caps]") {
  const auto role = downstream(TlsMode::opportunistic);
  CHECK(list_for_client("+OK\r\nTOP\r\n.\r\n", role) == "+OK\r\nTOP\r\nSTLS\r\n.\r\n");
  CHECK(list_for_client("+OK\r\nSTLS\r\nTOP\r\n.\r\n", role) == "+OK\r\nTOP\r\nSTLS\r\n.\r\n");
  CHECK(list_for_client("-ERR what?\r\n", role) == "-ERR what?\r\n");
}

TEST_CASE("pop3 list: everything else passes unchanged", "[proto][pop3][caps]") {
  for (const auto* list :
       {"+OK STLS\r\nTOP\r\nUSER\r\nSASL\r\nsasl PLAIN  LOGIN\r\nIMPLEMENTATION  x STLS\r\n.\r\n",
        "+OK\r\n\r\n..\r\nSTLSX\r\nX-STLS\r\nRESP-CODES \xc3\xa9\r\n.\r\n"}) {
    CHECK(list_for_client(list) == list);
  }
  CHECK(list_for_client("+OK\nSTLS\nTOP\n.\n", downstream(TlsMode::none, TlsMode::implicit)) ==
        "+OK\nTOP\n.\n");
}

TEST_CASE("K5 pop3 list: mechanisms with channel binding are removed",
          "[proto][pop3][caps][security]") {
  CHECK(list_for_client("+OK\r\nSASL SCRAM-SHA-1-PLUS PLAIN x-plus Login\r\n.\r\n") ==
        "+OK\r\nSASL PLAIN Login\r\n.\r\n");
  CHECK(list_for_client("+OK\r\nSASL X-PLUS\r\nTOP\r\n.\r\n") == "+OK\r\nTOP\r\n.\r\n");
}

TEST_CASE("K7 pop3: EXTERNAL is not offered or accepted if the proxy's certificate would log in",
          "[proto][pop3][caps][security]") {
  constexpr auto* kOffer = "+OK\r\nSASL PLAIN EXTERNAL\r\n.\r\n";
  auto role = downstream(TlsMode::none);
  CHECK(list_for_client(kOffer, role) == kOffer);
  check_commits(role, "AUTH EXTERNAL =\r\n");
  role.client_certificate = true;
  CHECK(list_for_client(kOffer, role) == "+OK\r\nSASL PLAIN\r\n.\r\n");
  for (const auto* command : {"AUTH EXTERNAL\r\n", "auth  external =\r\n"}) {
    check_refused(role, command, "-ERR Mechanism not available\r\n");
  }
  check_commits(role, "AUTH PLAIN EXTERNAL\r\n");
}

TEST_CASE("K12 pop3: XCLIENT is refused", "[proto][pop3][caps][security]") {
  check_refused(downstream(TlsMode::none), "XCLIENT ADDR=1.2.3.4\r\n",
                "-ERR Command not allowed\r\n");
}

TEST_CASE("failure: pop3 reports a temporary failure", "[proto][pop3][table]") {
  const auto& row = *find_protocol("pop3");
  CHECK(failure_reply(row, Error{Errc::certificate, "certificate has expired"}, "proxy.example") ==
        "-ERR [SYS/TEMP] proxy.example certificate has expired\r\n");
  CHECK(failure_reply(row, Error{Errc::client_protocol, "client sent a NUL"}, "proxy.example") ==
        "-ERR proxy.example client sent a NUL\r\n");
}

TEST_CASE("pop3 downstream: D3: AUTH alone asks for a list, which is edited, and commits nothing",
          "[proto][pop3][security]") {
  auto d = greeted(downstream(TlsMode::opportunistic));
  d.client("AUTH\r\n").to_server("AUTH\r\n").to_client("");
  d.server("+OK\r\nPLAIN\r\nSCRAM-SHA-1-PLUS\r\nSASL X-PLUS\r\n.\r\n")
      .to_client("+OK\r\nPLAIN\r\nSASL X-PLUS\r\n.\r\n");
  d.client("auth \r\n").to_server("auth \r\n");
  d.server("-ERR no list\r\n").to_client("-ERR no list\r\n");
  d.client("STLS\r\n");
  CHECK(d.client_verdict() == Verdict::start_tls);
}

TEST_CASE("pop3 downstream: D5: a list without entries and end does not swallow the next reply",
          "[proto][pop3]") {
  auto d = greeted(downstream(TlsMode::none));
  d.client("CAPA\r\n").server("+OK\r\n").to_client("+OK\r\n");
  d.client("CAPA\r\n").server("+OK\r\nSASL X-PLUS PLAIN\r\n").to_client("+OK\r\nSASL PLAIN\r\n");
  d.client("NOOP\r\n").server("+OK fine\r\n").to_client("+OK fine\r\n");
  d.client("CAPA\r\n").server("+OK\r\n").to_client("+OK\r\n");
  d.client("RETR 1\r\n");
  CHECK(d.client_verdict() == Verdict::relay);
  const std::string_view mail = "+OK 40 octets\r\nSTLS\r\nSASL X-PLUS\r\nXCLIENT\r\n.\r\n";
  d.server(mail).to_client("");
  CHECK(d.server_verdict() == Verdict::relay);
  CHECK(d.unread_server() == mail);
}
