#include <string>
#include <string_view>

#include "lib/proto/lines.h"
#include "lib/proto/protocols.h"
#include "tests/support/catch.h"
#include "tests/support/dialogue.h"
#include "tests/support/roles.h"

// Names begin with ids of attacks and edge cases. The letters mean: A command injection, B response
// injection, N negotiation, T tampering, S session fixation, G general, P parser, K capabilities.
// The POP3 tests cover the features that NNTP shares with POP3 at more length.

using namespace starttls;
using namespace starttls::proto;
using starttls::test::downstream;
using starttls::test::DownstreamDialogue;
using starttls::test::upstream;
using starttls::test::UpstreamDialogue;

namespace {

constexpr std::string_view kOwnList =
    "101 Capability list follows\r\nVERSION 2\r\nSTARTTLS\r\n.\r\n";
constexpr std::string_view kActive = "502 TLS is already active\r\n";
constexpr std::string_view kTlsFirst = "483 Must issue STARTTLS first\r\n";

const RoleSettings kStarttls = upstream(TlsMode::starttls);
const RoleSettings kOpportunistic = upstream(TlsMode::opportunistic);

DownstreamDialogue greeted(const RoleSettings& role, std::string_view greeting = "200 news\r\n") {
  return DownstreamDialogue{"nntp", role, greeting};
}

Error greeted_with(std::string_view bytes, const RoleSettings& role = kStarttls) {
  UpstreamDialogue d{"nntp", role};
  d.peer(bytes).sends("");
  return d.error();
}

/// Returns the error that this answer to our STARTTLS gives.
Errc answered_with(std::string_view bytes, const RoleSettings& role = kStarttls) {
  UpstreamDialogue d{"nntp", role};
  d.peer("200 news\r\n").sends("STARTTLS\r\n");
  d.peer(bytes).sends("");
  return d.error().code;
}

std::string list_for_client(std::string_view list,
                            const RoleSettings& role = downstream(TlsMode::none)) {
  auto d = greeted(role);
  d.client("CAPABILITIES\r\n").to_server("CAPABILITIES\r\n").to_client("");
  return d.server(list).take_to_client();
}

void check_refused(const RoleSettings& role, std::string_view command, std::string_view refusal) {
  auto d = greeted(role);
  d.client(command).to_server("").to_client(refusal);
  CHECK(d.client_verdict() == Verdict::need_more);
  d.client("DATE\r\n").to_server("DATE\r\n");
  d.server("111 19990623135624\r\n").to_client("111 19990623135624\r\n");
}

void check_commits(const RoleSettings& role, std::string_view command) {
  auto d = greeted(role);
  d.client(command).to_server("").to_client("");
  CHECK(d.client_verdict() == Verdict::relay);
  CHECK(d.server_verdict() == Verdict::relay);
  CHECK(d.unread_client() == command);
}

void secure(DownstreamDialogue& d) {
  d.client("STARTTLS\r\n").to_server("").to_client("");
  REQUIRE(d.client_verdict() == Verdict::start_tls);
  d.secured().to_client("");
}

}  // namespace

// ---------------------------------------------------------------- upstream

TEST_CASE("nntp upstream: the role conducts STARTTLS, and the greeting keeps its code",
          "[proto][nntp]") {
  for (const auto& role : {kStarttls, kOpportunistic}) {
    for (const std::string_view greeting :
         {"200 news.example, posting allowed\r\n", "201 news.example, no posting\r\n"}) {
      UpstreamDialogue d{"nntp", role};
      d.peer(greeting).sends("STARTTLS\r\n");
      CHECK(d.state() == "starttls");
      d.peer("382 Continue\r\n").sends("");
      CHECK(d.verdict() == Verdict::start_tls);
      d.secured().sends("");
      CHECK(d.verdict() == Verdict::greeted);
      CHECK(d.greeting() == greeting);
      CHECK(d.fallback_reason().empty());
    }
  }
}

TEST_CASE("nntp upstream: a leg that does not upgrade passes its greeting on unchanged",
          "[proto][nntp]") {
  for (const auto mode : {TlsMode::none, TlsMode::implicit}) {
    for (const std::string_view line : {"200 \xc3\xa9tat \x1b[1m\r\n", "201\r\n", "200 old\n"}) {
      UpstreamDialogue d{"nntp", upstream(mode)};
      d.peer(line).sends("");
      CHECK(d.verdict() == Verdict::greeted);
      CHECK(d.greeting() == line);
    }
    UpstreamDialogue refused{"nntp", upstream(mode)};
    refused.peer("502 no permission\r\n");
    CHECK(refused.error().code == Errc::greeting_refused);
    CHECK(refused.greeting() == "502 no permission\r\n");
  }
}

TEST_CASE("B7 nntp upstream: bytes after the go-ahead stay unread for the leg to refuse",
          "[proto][nntp][security]") {
  for (const std::string_view injected : {"281 ok\r\n", "2", "\xff", "\n"}) {
    UpstreamDialogue d{"nntp", kStarttls};
    d.peer("200\r\n").peer("382 go\r\n" + std::string(injected));
    CHECK(d.verdict() == Verdict::start_tls);
    CHECK(d.unread() == injected);
  }
}

TEST_CASE("B10 B12 G12 nntp upstream: replies before their commands are an attack",
          "[proto][nntp][security]") {
  constexpr std::string_view kFake = "580 no\r\n281 logged in\r\n";
  CHECK(answered_with(kFake, kStarttls) == Errc::tls_refused);
  CHECK(answered_with(kFake, kOpportunistic) == Errc::attack);
  for (const auto& role : {kStarttls, kOpportunistic}) {
    CHECK(UpstreamDialogue("nntp", role).peer("200 a\r\n382 go\r\n").error().code == Errc::attack);
    CHECK(UpstreamDialogue("nntp", role).peer("200 a\r\n3").error().code == Errc::attack);
  }
}

TEST_CASE("N2 nntp upstream: only 382 is a go-ahead", "[proto][nntp][security]") {
  for (const auto* code : {"580", "502", "500", "501", "483", "400", "200", "281", "381", "383",
                           "380", "205", "101"}) {
    CHECK(answered_with(std::string(code) + " 382\r\n") == Errc::tls_refused);
  }
  for (const auto* line : {"3820 go", "38", "", "382go", "382-go", "382\tgo", " 382 go", "+OK",
                           "38x go", "682 go", "082 go"}) {
    CHECK(answered_with(std::string(line) + "\r\n") == Errc::protocol);
    CHECK(answered_with(std::string(line) + "\r\n", kOpportunistic) == Errc::protocol);
  }
  UpstreamDialogue bare{"nntp", kStarttls};
  bare.peer("200\r\n").peer("382\r\n");
  CHECK(bare.verdict() == Verdict::start_tls);
}

TEST_CASE("N4 N8 nntp upstream: a greeting that is not a welcome ends the session",
          "[proto][nntp]") {
  for (const auto& role : {kStarttls, kOpportunistic}) {
    for (const auto* code : {"400", "502", "480", "503"}) {
      const auto error = greeted_with(std::string(code) +
                                          " go \x1b"
                                          "away\r\n",
                                      role);
      CHECK(error.code == Errc::greeting_refused);
      CHECK(error.reason == "server says: " + std::string(code) + " go away");
    }
    for (const auto* line : {"202 hi", "382 go", "100 a", "20 hi", "2000 hi", "600 a", "hello"}) {
      CHECK(greeted_with(std::string(line) + "\r\n", role).code == Errc::protocol);
    }
  }
}

TEST_CASE("P5 P6 P7 P8 nntp upstream: bare LF, NUL, stray CR and endless lines end the session",
          "[proto][nntp][security]") {
  using namespace std::string_view_literals;
  for (const auto& line :
       {std::string("200 a\n"), std::string("200 a\0b\r\n"sv), std::string("20\r0 a\r\n"),
        std::string("200 a\r\r\n"), "200 " + std::string(kMaxLine, 'x')}) {
    CHECK(greeted_with(line).code == Errc::protocol);
    CHECK(answered_with(line) == Errc::protocol);
  }
}

TEST_CASE("P9 T23 T24 nntp upstream: only the printable text of a clear greeting is passed on",
          "[proto][nntp][security]") {
  const auto greeting = [](std::string_view heard, bool greeting_text = true) {
    auto role = kStarttls;
    role.greeting_text = greeting_text;
    UpstreamDialogue d{"nntp", role};
    d.peer(heard).peer("382\r\n").secured();
    return d.greeting();
  };
  CHECK(greeting("201 \x1b[31mnews\x1b[0m\r\n") == "201 [31mnews[0m\r\n");
  CHECK(greeting("201\r\n") == "201 proxy.example NNTP\r\n");
  CHECK(greeting("200 news\r\n", false) == "200 proxy.example NNTP\r\n");
  CHECK(greeting("200 " + std::string(5000, 'x') + "\r\n") ==
        "200 " + std::string(506, 'x') + "\r\n");
}

TEST_CASE("nntp upstream: opportunistic stays in the clear if STARTTLS is refused",
          "[proto][nntp]") {
  // After the last two the server is gone, and gets a fresh connection.
  for (const auto* code : {"580", "502", "500", "483", "400", "205"}) {
    UpstreamDialogue d{"nntp", kOpportunistic};
    d.peer("201 hi\r\n").peer(std::string(code) + " no\r\n").sends("STARTTLS\r\n");
    CHECK(d.verdict() == Verdict::greeted);
    CHECK(d.greeting() == "201 hi\r\n");
    CHECK(d.fallback_reason() == "server refused STARTTLS");
  }
}

// ---------------------------------------------------------------- downstream, before commit

TEST_CASE("nntp downstream: the commands of the prelude pass, other commands commit",
          "[proto][nntp]") {
  for (const auto mode : {TlsMode::none, TlsMode::implicit, TlsMode::opportunistic}) {
    const auto role = downstream(mode);
    for (const std::string_view command :
         {"CAPABILITIES\r\n", "capabilities AUTOUPDATE\r\n", "MODE READER\r\n", "mode reader\r\n",
          "QUIT\r\n", "HELP\r\n", "DATE\r\n"}) {
      auto d = greeted(role);
      d.client(command).to_server(command).to_client("");
      CHECK(d.client_verdict() == Verdict::need_more);
    }
    for (const std::string_view command :
         {"AUTHINFO USER a\r\n", "AUTHINFO SASL PLAIN\r\n", "GROUP a\r\n", "MODE STREAM\r\n",
          "MODE\r\n", "IHAVE <a@b>\r\n", "LIST\r\n", "\r\n"}) {
      check_commits(role, command);
    }
  }
  check_commits(downstream(TlsMode::none), "GROUP a\n");
}

TEST_CASE("nntp downstream: a list ends at its dot, if the command has a list", "[proto][nntp]") {
  auto d = greeted(downstream(TlsMode::none));
  d.client("HELP\r\nDATE\r\nMODE READER\r\nCAPABILITIES\r\nHELP\r\nGROUP a\r\n");
  CHECK(d.client_verdict() == Verdict::relay);
  constexpr std::string_view kReplies =
      "100 Help\r\nSTARTTLS\r\n500 is no reply here\r\n..\r\n.\r\n"
      "111 19990623135624\r\n"
      "201 reader\r\n"
      "500 no list\r\n"
      "100 Help\r\n.\r\n";
  d.server(std::string(kReplies) + "211 1 1 1 a\r\n").to_client(kReplies);
  CHECK(d.server_verdict() == Verdict::relay);
  CHECK(d.unread_server() == "211 1 1 1 a\r\n");
}

TEST_CASE("G2 P1 nntp downstream: a client that sends all at once commits after its list",
          "[proto][nntp]") {
  auto d = greeted(downstream(TlsMode::none));
  d.client("CAPABILITIES\r\nAUTHINFO USER a\r\n").to_server("CAPABILITIES\r\n");
  CHECK(d.client_verdict() == Verdict::relay);
  CHECK(d.unread_client() == "AUTHINFO USER a\r\n");
  d.server("101 x\r\nVERSION 2\r\nSTARTTLS\r\n.\r\n381 p").to_client("101 x\r\nVERSION 2\r\n.\r\n");
  CHECK(d.server_verdict() == Verdict::relay);
  CHECK(d.unread_server() == "381 p");
}

TEST_CASE("G3 nntp downstream: the proxy answers the client's own STARTTLS",
          "[proto][nntp][security]") {
  for (const auto* command : {"STARTTLS\r\n", "starttls\r\n", "STARTTLS \r\n", "StartTLS now\r\n",
                              " STARTTLS\r\n", "\tSTARTTLS\r\n"}) {
    check_refused(downstream(TlsMode::none), command, "502 STARTTLS is not available\r\n");
    check_refused(downstream(TlsMode::implicit), command, kActive);
  }
}

TEST_CASE("M5 nntp downstream: the proxy's replies keep their place among the server's",
          "[proto][nntp]") {
  auto d = greeted(downstream(TlsMode::none));
  d.client("HELP\r\nSTARTTLS\r\nDATE\r\n").to_server("HELP\r\nDATE\r\n").to_client("");
  d.server("100 x\r\n").to_client("100 x\r\n");
  d.server(".\r\n").to_client(".\r\n502 STARTTLS is not available\r\n");
  d.server("111 1\r\n400 idle\r\n").to_client("111 1\r\n400 idle\r\n");
}

TEST_CASE("P3 P6 nntp downstream: a line that is not a reply ends the session",
          "[proto][nntp][security]") {
  using namespace std::string_view_literals;
  for (const auto reply : {"hello\r\n"sv, "1010 x\r\n"sv, "10\r\n"sv, "\r\n"sv, "101 a\0\r\n"sv,
                           "101 a\rb\r\n"sv, "101 a\n"sv}) {
    auto d = greeted(downstream(TlsMode::none));
    d.client("CAPABILITIES\r\n").server(reply).to_client("");
    CHECK(d.error().code == Errc::protocol);
  }
}

TEST_CASE("P8 nntp downstream: a list is held to 64 KiB, edited or not", "[proto][nntp]") {
  const std::string line = std::string(4000, 'x') + "\r\n";
  for (const auto& [command, code] :
       {std::pair{"CAPABILITIES\r\n", "101"}, std::pair{"HELP\r\n", "100"}}) {
    std::string endless = std::string(code) + " list\r\n";
    while (endless.size() <= kMaxReply) endless += line;
    auto d = greeted(downstream(TlsMode::none));
    d.client(command).server(endless);
    CHECK(d.error().code == Errc::protocol);
  }
}

TEST_CASE("nntp downstream: D5: a list that never comes does not swallow the next reply",
          "[proto][nntp]") {
  auto d = greeted(downstream(TlsMode::none));
  d.client("HELP\r\nCAPABILITIES\r\n")
      .server("100 see the web\r\n")
      .to_client("100 see the web\r\n");
  d.server("101 list\r\nVERSION 2\r\nSTARTTLS\r\n.\r\n")
      .to_client("101 list\r\nVERSION 2\r\n.\r\n");
  // Later lines of a text may look like a status.
  d.client("HELP\r\n").server("100 text\r\nread\r\n200 lines\r\n.\r\n");
  d.to_client("100 text\r\nread\r\n200 lines\r\n.\r\n");
}

TEST_CASE("P20 nntp downstream: twenty refusals end the session, ours or the server's",
          "[proto][nntp][security]") {
  auto ours = greeted(downstream(TlsMode::starttls));
  for (int i = 0; i < 19; ++i) ours.client("GROUP a\r\n").to_client(kTlsFirst);
  ours.client("GROUP a\r\n").to_server("").to_client("");
  CHECK(ours.error().code == Errc::too_many_errors);

  auto servers = greeted(downstream(TlsMode::none));
  for (int i = 0; i < 25; ++i) servers.client("DATE\r\n").server("480 a\r\n");
  CHECK(!servers.failed());  // the command is good and only failed
  for (int i = 0; i < 20; ++i) servers.client("DATE\r\n").server(i % 2 ? "500 a\r\n" : "502 a\r\n");
  CHECK(servers.error().code == Errc::too_many_errors);
}

// ---------------------------------------------------------------- downstream, STARTTLS

TEST_CASE(
    "K9 S4 nntp downstream starttls: before TLS the proxy answers, and the server gets nothing",
    "[proto][nntp][security]") {
  auto d = greeted(downstream(TlsMode::starttls));
  const auto says = [&d](std::string_view command, std::string_view answer) {
    d.client(command).to_server("").to_client(answer);
    CHECK(d.client_verdict() == Verdict::need_more);
  };
  says("CAPABILITIES\r\n", kOwnList);
  says("capabilities AUTOUPDATE\r\nMODE READER\r\n",
       std::string(kOwnList) + "200 Posting allowed\r\n");
  for (const auto* command : {"AUTHINFO USER a\r\n", "AUTHINFO SASL PLAIN AGEAYg==\r\n", "DATE\r\n",
                              "HELP\r\n", "MODE STREAM\r\n", "POST\r\n", "\r\n", "FOO\r\n"}) {
    says(command, kTlsFirst);
  }
  secure(d);
  d.client("CAPABILITIES\r\n").to_server("CAPABILITIES\r\n");
  d.server("101 x\r\nVERSION 2\r\nSTARTTLS\r\nAUTHINFO USER\r\n.\r\n")
      .to_client("101 x\r\nVERSION 2\r\nAUTHINFO USER\r\n.\r\n");
  d.client("MODE READER\r\n")
      .to_server("MODE READER\r\n")
      .server("201 no\r\n")
      .to_client("201 no\r\n");
  d.client("AUTHINFO USER a\r\n");
  CHECK(d.client_verdict() == Verdict::relay);
  CHECK(d.server_verdict() == Verdict::relay);
}

TEST_CASE("nntp downstream starttls: MODE READER before TLS repeats the greeting's code",
          "[proto][nntp]") {
  auto d = greeted(downstream(TlsMode::starttls), "201 news\r\n");
  d.client("MODE READER\r\n").to_server("").to_client("201 Posting prohibited\r\n");
}

TEST_CASE("G4 nntp downstream starttls: QUIT before TLS is answered, and ends the session",
          "[proto][nntp]") {
  auto d = greeted(downstream(TlsMode::starttls));
  d.client("CAPABILITIES\r\nQUIT\r\nDATE\r\n").to_server("");
  d.to_client(std::string(kOwnList) + "205 Goodbye\r\n");
  CHECK(d.client_verdict() == Verdict::finish);
}

TEST_CASE(
    "A5 A6 A9 nntp downstream: bytes that wait after STARTTLS stay unread for the leg to refuse",
    "[proto][nntp][security]") {
  for (const auto mode : {TlsMode::starttls, TlsMode::opportunistic}) {
    for (const std::string_view injected :
         {"DATE\r\n", "AUTHINFO USER a\r\n", "D", "\x16\x03\x01"}) {
      auto d = greeted(downstream(mode));
      d.client("STARTTLS\r\n" + std::string(injected)).to_server("").to_client("");
      CHECK(d.client_verdict() == Verdict::start_tls);
      CHECK(d.unread_client() == injected);
    }
    const auto role = find_protocol("nntp")->downstream(downstream(mode));
    CHECK(role->go_ahead() == "382 Continue with TLS negotiation\r\n");
    CHECK(role->injection_reply() == "502 STARTTLS must be the last command\r\n");
  }
}

TEST_CASE("A10 P5 nntp downstream: only these lines are a STARTTLS", "[proto][nntp][security]") {
  for (const auto mode : {TlsMode::starttls, TlsMode::opportunistic}) {
    for (const auto* command : {"STARTTLS\r\n", "starttls\r\n", "StartTLS \r\n"}) {
      auto d = greeted(downstream(mode));
      d.client(command);
      CHECK(d.client_verdict() == Verdict::start_tls);
    }
    auto argument = greeted(downstream(mode));
    argument.client("STARTTLS x\r\n").to_server("").to_client("501 STARTTLS takes no argument\r\n");
    CHECK(argument.client_verdict() == Verdict::need_more);
  }
}

TEST_CASE("A11 nntp downstream opportunistic: STARTTLS waits for the server's earlier answers",
          "[proto][nntp]") {
  auto d = greeted(downstream(TlsMode::opportunistic));
  d.client("CAPABILITIES\r\nSTARTTLS\r\nDATE\r\n").to_server("CAPABILITIES\r\n").to_client("");
  CHECK(d.client_verdict() == Verdict::need_more);
  d.server("101 x\r\nVERSION 2\r\n.\r\n").to_client("101 x\r\nVERSION 2\r\nSTARTTLS\r\n.\r\n");
  CHECK(d.server_verdict() == Verdict::start_tls);
  CHECK(d.unread_client() == "DATE\r\n");
}

TEST_CASE("A14 S4 nntp downstream: STARTTLS inside TLS is refused by the proxy, and not offered",
          "[proto][nntp][security]") {
  for (const auto mode : {TlsMode::starttls, TlsMode::opportunistic}) {
    auto d = greeted(downstream(mode));
    secure(d);
    d.client("STARTTLS\r\n").to_server("").to_client(kActive);
    d.client("CAPABILITIES\r\n").server("101 x\r\nSTARTTLS\r\n.\r\n").to_client("101 x\r\n.\r\n");
  }
}

TEST_CASE("S2 nntp downstream: a client that logs in without TLS stays in the clear",
          "[proto][nntp]") {
  auto d = greeted(downstream(TlsMode::opportunistic));
  d.client("AUTHINFO USER a\r\nSTARTTLS\r\n").to_server("").to_client("");
  CHECK(d.client_verdict() == Verdict::relay);
}

// ---------------------------------------------------------------- capability lists

TEST_CASE("K1 K2 G15 nntp list: STARTTLS is in the list once, if it is possible",
          "[proto][nntp][caps]") {
  constexpr auto* kOffer =
      "101 x\r\nVERSION 2\r\nSTARTTLS\r\nAUTHINFO USER SASL\r\nstarttls\r\n.\r\n";
  constexpr auto* kWithout = "101 x\r\nVERSION 2\r\nAUTHINFO USER SASL\r\n.\r\n";
  CHECK(list_for_client(kOffer, downstream(TlsMode::none)) == kWithout);
  CHECK(list_for_client(kOffer, downstream(TlsMode::implicit)) == kWithout);
  const auto offering = downstream(TlsMode::opportunistic);
  for (const auto* list : {kOffer, kWithout}) {
    CHECK(list_for_client(list, offering) ==
          "101 x\r\nVERSION 2\r\nAUTHINFO USER SASL\r\nSTARTTLS\r\n.\r\n");
  }
  CHECK(list_for_client("500 STARTTLS\r\n", offering) == "500 STARTTLS\r\n");
}

TEST_CASE("K5 K7 nntp list: SASL mechanisms that cannot pass a proxy are removed, the rest stays",
          "[proto][nntp][caps][security]") {
  constexpr auto* kOffer =
      "101 x\r\nSASL PLAIN X-PLUS EXTERNAL\r\nAUTHINFO USER SASL\r\n..\r\n.\r\n";
  auto role = downstream(TlsMode::none);
  CHECK(list_for_client(kOffer, role) ==
        "101 x\r\nSASL PLAIN EXTERNAL\r\nAUTHINFO USER SASL\r\n..\r\n.\r\n");
  check_commits(role, "AUTHINFO SASL EXTERNAL =\r\n");
  role.client_certificate = true;
  CHECK(list_for_client(kOffer, role) ==
        "101 x\r\nSASL PLAIN\r\nAUTHINFO USER SASL\r\n..\r\n.\r\n");
  check_refused(role, "authinfo sasl  external =\r\n", "503 Mechanism not available\r\n");
  check_commits(role, "AUTHINFO SASL PLAIN EXTERNAL\r\n");
  check_commits(role, "AUTHINFO USER EXTERNAL\r\n");
}

TEST_CASE("failure: nntp reports a temporary failure", "[proto][nntp][table]") {
  const auto& row = *find_protocol("nntp");
  CHECK(failure_reply(row, Error{Errc::timeout, "time-out"}, "proxy.example") ==
        "400 proxy.example time-out\r\n");
  CHECK(failure_reply(row, Error{Errc::client_protocol, "client sent a NUL"}, "proxy.example") ==
        "501 proxy.example client sent a NUL\r\n");
}
