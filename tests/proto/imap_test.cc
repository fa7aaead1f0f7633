#include <string>
#include <string_view>
#include <utility>

#include "lib/base/ascii.h"
#include "lib/proto/lines.h"
#include "tests/support/catch.h"
#include "tests/support/dialogue.h"
#include "tests/support/roles.h"

// Names begin with ids of attacks and edge cases. The letters mean: A command injection, B response
// injection, N negotiation, T tampering, S state carried across TLS, G general, P parser, K
// capabilities.

using namespace starttls;
using namespace starttls::proto;
using starttls::test::downstream;
using starttls::test::DownstreamDialogue;
using starttls::test::upstream;
using starttls::test::UpstreamDialogue;

namespace {

using namespace std::string_view_literals;

constexpr TlsMode kAllModes[] = {TlsMode::none, TlsMode::opportunistic, TlsMode::starttls,
                                 TlsMode::implicit};

constexpr std::string_view kGreeting = "* OK mx.example ready\r\n";
constexpr std::string_view kStarttls = "R4nd STARTTLS\r\n";
constexpr std::string_view kCapability = "R4nd CAPABILITY\r\n";
constexpr std::string_view kClearGreeting =
    "* OK [CAPABILITY IMAP4rev1 STARTTLS LOGINDISABLED] mx.example ready\r\n";

/// An upstream dialogue, played up to our STARTTLS.
struct Asked : UpstreamDialogue {
  explicit Asked(TlsMode mode = TlsMode::starttls) : UpstreamDialogue("imap", upstream(mode)) {
    peer(kGreeting).sends(kStarttls);
  }
};

/// Returns the error that this greeting gives.
Errc greeted_with(std::string_view bytes, TlsMode mode = TlsMode::starttls) {
  UpstreamDialogue d{"imap", upstream(mode)};
  d.peer(bytes).sends("");
  return d.error().code;
}

/// Returns the greeting for the client. The server sent `heard` in the clear and `list` inside TLS.
std::string greeting_after(std::string_view heard, std::string_view list,
                           bool greeting_text = true) {
  auto role = upstream(TlsMode::starttls);
  role.greeting_text = greeting_text;
  UpstreamDialogue d{"imap", role};
  d.peer(heard).sends(kStarttls);
  d.peer("R4nd OK go\r\n");
  d.secured().sends(kCapability);
  d.peer(list).sends("");
  CHECK(d.verdict() == Verdict::greeted);
  return d.greeting();
}

/// A client that has received its greeting.
struct Greeted : DownstreamDialogue {
  explicit Greeted(const RoleSettings& role, std::string_view greeting = kGreeting)
      : DownstreamDialogue("imap", role, greeting) {
    static_cast<void>(take_to_client());
  }
  explicit Greeted(TlsMode mode) : Greeted(downstream(mode)) {}
};

/// Returns the part of the server's `bytes` after a NOOP that the client sees.
std::string as_seen(std::string_view bytes, const RoleSettings& role) {
  Greeted d{role};
  d.client("a NOOP\r\n").to_server("a NOOP\r\n").to_client("");
  return d.server(bytes).take_to_client();
}
std::string as_seen(std::string_view bytes, TlsMode mode = TlsMode::none) {
  return as_seen(bytes, downstream(mode));
}

std::string greeting_seen(std::string_view greeting, const RoleSettings& role) {
  DownstreamDialogue d{"imap", role, greeting};
  const auto seen = d.take_to_client();
  return seen.empty() ? std::string(greeting) : seen;
}

/// Checks that we answer the command with `refusal` and the server never sees it. The next command
/// works.
void check_refused(const RoleSettings& role, std::string_view command, std::string_view refusal) {
  Greeted d{role};
  d.client(command).to_server("").to_client(refusal);
  CHECK(d.client_verdict() == Verdict::need_more);
  if (role.downstream == TlsMode::starttls) {
    d.client("z NOOP\r\n").to_server("").to_client("z OK NOOP completed\r\n");
  } else {
    d.client("z NOOP\r\n").to_server("z NOOP\r\n").to_client("");
  }
}

void check_passed(const RoleSettings& role, std::string_view command) {
  Greeted d{role};
  d.client(command).to_server(command).to_client("");
  CHECK(d.client_verdict() == Verdict::need_more);
}

void check_commits(const RoleSettings& role, std::string_view command) {
  Greeted d{role};
  d.client(command).to_server("").to_client("");
  CHECK(d.client_verdict() == Verdict::relay);
  CHECK(d.server_verdict() == Verdict::relay);
  CHECK(d.unread_client() == command);
}

}  // namespace

// ---------------------------------------------------------------- upstream, starttls

TEST_CASE(
    "imap upstream: the role conducts STARTTLS and passes on the capabilities from inside TLS",
    "[proto][imap]") {
  UpstreamDialogue d{"imap", upstream(TlsMode::starttls)};
  CHECK(d.state() == "greeting");
  d.peer("* OK [CAPABILITY IMAP4rev1 AUTH=CLEAR] mx.example ready\r\n").sends(kStarttls);
  CHECK(d.state() == "starttls");
  d.peer("R4nd OK begin\r\n").sends("");
  CHECK(d.verdict() == Verdict::start_tls);
  CHECK(d.state() == "tls");
  d.secured().sends(kCapability);
  CHECK(d.state() == "capability");
  d.peer("* CAPABILITY IMAP4rev1 AUTH=PLAIN\r\n").sends("");
  CHECK(d.verdict() == Verdict::need_more);
  d.peer("R4nd OK done\r\n").sends("");
  CHECK(d.verdict() == Verdict::greeted);
  CHECK(d.state() == "done");
  CHECK(d.greeting() == "* OK [CAPABILITY IMAP4rev1 AUTH=PLAIN] mx.example ready\r\n");
  CHECK(d.fallback_reason().empty());
}

TEST_CASE("B2 B3 B4 imap upstream: bytes after the tagged OK stay unread for the leg to refuse",
          "[proto][imap][security]") {
  for (const std::string_view injected :
       {"* CAPABILITY IMAP4REV1 AUTH=PLAIN AUTH=LOGIN\r\n2 OK capability done.\r\n",
        "* OK [ALERT] suffix.\r\n", "* BYE close the connection please.\r\n", "* ", "\xff"}) {
    Asked d;
    d.peer("R4nd OK begin\r\n" + std::string(injected)).sends("");
    CHECK(d.verdict() == Verdict::start_tls);
    CHECK(d.unread() == injected);
  }
}

TEST_CASE("B3 imap upstream: an alert before the OK is dropped, one inside TLS is passed on",
          "[proto][imap][security]") {
  Asked d;
  d.peer("* OK [ALERT] prefix.\r\nR4nd OK begin\r\n").secured().sends(kCapability);
  d.peer("* OK [ALERT] after TLS.\r\n* CAPABILITY IMAP4rev1\r\n* 3 EXISTS\r\nR4nd OK\r\n");
  CHECK(d.greeting() ==
        "* OK [CAPABILITY IMAP4rev1] mx.example ready\r\n* OK [ALERT] after TLS.\r\n");
}

TEST_CASE("B10 imap upstream: a refusal followed by a fake session does not reach the client",
          "[proto][imap][security]") {
  constexpr std::string_view kFake = "R4nd BAD no\r\nA003 OK logged in\r\n* 1 EXISTS\r\n";
  Asked required;
  required.peer(kFake).sends("");
  CHECK(required.error().code == Errc::tls_refused);

  Asked opportunistic{TlsMode::opportunistic};
  opportunistic.peer(kFake).sends("");
  CHECK(opportunistic.error().code == Errc::attack);
}

TEST_CASE("B11 imap upstream: a tagged line that answers no command is an attack",
          "[proto][imap][security]") {
  for (const auto mode : {TlsMode::starttls, TlsMode::opportunistic}) {
    for (const auto* tag : {"2", "A001", "r4nd", "R4nd2", "R4n", "**", ""}) {
      UpstreamDialogue early{"imap", upstream(mode)};
      early.peer(std::string(kGreeting) + tag + " OK begin TLS now\r\n");
      CHECK(early.error().code == Errc::attack);

      Asked late{mode};
      late.peer(std::string(tag) + " OK begin TLS now\r\n");
      CHECK(late.error().code == Errc::attack);
    }
    // The tag is right by chance. But the server cannot yet have heard it from us.
    UpstreamDialogue d{"imap", upstream(mode)};
    d.peer(std::string(kGreeting) + "R4nd OK begin TLS now\r\n");
    CHECK(d.error().code == Errc::attack);
    CHECK(d.error().attack == Attack::unsolicited);
  }
}

TEST_CASE("B13 P2 imap upstream: every byte may come alone", "[proto][imap]") {
  Asked d;  // and so does every dialogue when it is replayed
  for (const char c : std::string("R4nd OK go\r")) d.peer({&c, 1});
  CHECK(d.verdict() == Verdict::need_more);
  d.peer("\n");
  CHECK(d.verdict() == Verdict::start_tls);
  CHECK(d.unread().empty());
}

TEST_CASE("N5 N6 imap upstream: only the tagged OK is a go-ahead", "[proto][imap][security]") {
  for (const auto* reply : {"NO not now", "BAD what?", "no", "Bad x"}) {
    Asked d;
    d.peer("R4nd " + std::string(reply) + "\x1b\r\n").sends("");
    CHECK(d.error().code == (std::string(reply) == "no" ? Errc::protocol : Errc::tls_refused));
  }
  for (const auto* reply : {"R4nd OKAY go", "R4nd", "R4nd  OK go", "R4nd OK\tgo", "R4nd PREAUTH x",
                            "+ continue with something.", "+", "+OK go"}) {
    for (const auto mode : {TlsMode::starttls, TlsMode::opportunistic}) {
      Asked d{mode};
      d.peer(std::string(reply) + "\r\n").sends("");
      CHECK(d.error().code == Errc::protocol);
    }
  }
}

TEST_CASE("N5 T21 imap upstream: capabilities in the clear decide nothing",
          "[proto][imap][security]") {
  for (const auto* greeting :
       {"* OK [CAPABILITY IMAP4rev1] hi\r\n", "* OK [CAPABILITY IMAP4] hi\r\n", "* OK hi\r\n",
        "* OK hi\r\n* CAPABILITY IDLE\r\n", "* OK [CAPABILITY STARTTLS IDLE] hi\r\n"}) {
    CHECK(greeting_after(greeting, "* CAPABILITY IMAP4rev1 ID\r\nR4nd OK\r\n") ==
          "* OK [CAPABILITY IMAP4rev1 ID] hi\r\n");
  }
  Asked d;
  d.peer("* CAPABILITY IDLE\r\nR4nd OK [CAPABILITY IDLE] go\r\n").secured();
  d.peer("R4nd BAD what?\r\n");
  CHECK(d.verdict() == Verdict::greeted);
  CHECK(d.greeting() == kGreeting);
}

TEST_CASE("N7 imap upstream: PREAUTH on a leg that needs TLS is an attack",
          "[proto][imap][security]") {
  for (const auto* greeting :
       {"* PREAUTH [CAPABILITY IMAP4REV1 STARTTLS] ready\r\n", "* PREAUTH ready\r\n",
        "* preauth\r\n", "* PREAUTH [ALERT] x\r\nR4nd OK\r\n"}) {
    CHECK(greeted_with(greeting) == Errc::attack);
    CHECK(UpstreamDialogue("imap", upstream(TlsMode::starttls)).peer(greeting).error().attack ==
          Attack::preauth);
  }
}

TEST_CASE(
    "N7 imap upstream: on an opportunistic leg PREAUTH counts as not offered, and is reported",
    "[proto][imap]") {
  UpstreamDialogue d{"imap", upstream(TlsMode::opportunistic)};
  d.peer("* PREAUTH [CAPABILITY IMAP4rev1] hi\x1b there\r\n").sends("");
  CHECK(d.verdict() == Verdict::greeted);
  CHECK(d.greeting() == "* PREAUTH hi there\r\n");
  CHECK(!d.fallback_reason().empty());
}

TEST_CASE("N8 imap upstream: a greeting is exactly OK, or a refusal", "[proto][imap][security]") {
  for (const auto mode : kAllModes) {
    for (const auto* greeting : {"* OKAY hi", "* NO hi", "* BAD hi", "A OK hi", "R4nd OK hi",
                                 "1Gdo00V4 wFaIW2WP", "*OK hi", "*  OK hi", " * OK hi", "OK hi", "",
                                 "+OK hi", "220 mx", "* OK\thi", "garbage\r\n* OK hi"}) {
      CHECK(greeted_with(std::string(greeting) + "\r\n", mode) == Errc::protocol);
    }
    UpstreamDialogue bye{"imap", upstream(mode)};
    bye.peer("* BYE full\x1b up\r\n").sends("");
    CHECK(bye.error().code == Errc::greeting_refused);
    CHECK(bye.error().reason == "server says: * BYE full up");
    CHECK(bye.greeting() == (upgrades(mode) ? "" : "* BYE full\x1b up\r\n"));
  }
  CHECK(greeting_after("* ok\r\n", "R4nd OK\r\n") == "* OK proxy.example IMAP4rev1\r\n");
}

TEST_CASE("N8 imap upstream: BYE instead of an answer is a refusal", "[proto][imap]") {
  Asked required;
  required.peer("* BYE now\r\n").sends("");
  CHECK(required.error().code == Errc::tls_refused);
  Asked opportunistic{TlsMode::opportunistic};
  opportunistic.peer("* BYE now\r\nR4nd BAD no\r\n").sends("");
  CHECK(opportunistic.verdict() == Verdict::greeted);
  CHECK(opportunistic.fallback_reason() == "server refused STARTTLS");
  Asked d;
  d.peer("R4nd OK\r\n").secured().peer("* BYE too many connections\r\n");
  CHECK(d.error().code == Errc::greeting_refused);
}

namespace {

constexpr const char* kTampering[] = {
    "* LIST () \"/\" 7XiYhgS7\r\n",
    "* LSUB () \"/\" jcaZji2A\r\n",
    "* STATUS YFlgClUY (MESSAGES 529001 RECENT 1)\r\n",
    "* STATUS INBOX (MESSAGES 1)\r\n",
    "* SEARCH 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20\r\n",
    "* FLAGS (\\Flagged)\r\n",
    "* 54321 EXISTS\r\n",
    "* 12345 RECENT\r\n",
    "* 1 EXPUNGE\r\n* 2 EXPUNGE\r\n* 3 EXPUNGE\r\n",
    "* 1 FETCH (BODY[] {28}\r\nFrom: Injected\r\n\r\nInjected\r\n)\r\n",
    "* 1 FETCH (BODY[] {14}\r\nR4nd OK now\r\n* FLAGS {3+}\r\n\r\n))\r\n",
    "* OK [REFERRAL imaps://example.org:993] x\r\n",
    "* NO [ALERT] Attacker-controlled {99999}\r\n",
};

}  // namespace

TEST_CASE("T1-T22 N13 imap upstream: untagged lines in the clear leave no trace",
          "[proto][imap][security]") {
  for (const std::string untagged : kTampering) {
    const auto check = [](UpstreamDialogue& d) {
      CHECK(d.verdict() == Verdict::start_tls);
      CHECK(d.unread().empty());
      d.secured().sends(kCapability);
      d.peer("* CAPABILITY IMAP4rev1\r\nR4nd OK\r\n");
      CHECK(d.greeting() == "* OK [CAPABILITY IMAP4rev1] mx.example ready\r\n");
    };
    UpstreamDialogue after_greeting{"imap", upstream(TlsMode::starttls)};
    after_greeting.peer(std::string(kGreeting) + untagged).sends(kStarttls);
    after_greeting.peer("R4nd OK\r\n").sends("");
    check(after_greeting);

    Asked before_starttls;
    before_starttls.peer(untagged + "R4nd OK\r\n").sends("");
    check(before_starttls);
  }
}

TEST_CASE("T1 P11 imap upstream: the lines dropped before TLS are bounded",
          "[proto][imap][security]") {
  std::string lines;
  for (int i = 0; i < 16; ++i) lines += "* 1 EXISTS\r\n";
  Asked allowed;
  allowed.peer(lines + "R4nd OK\r\n");
  CHECK(allowed.verdict() == Verdict::start_tls);

  const std::string long_line = "* " + std::string(4200, 'x') + "\r\n";
  for (const auto& bytes : {lines + "* 1 EXISTS\r\n", long_line + long_line,
                            std::string("* 1 FETCH (BODY[] {8193}\r\n"),
                            std::string("* 1 FETCH (BODY[] {99999999999999999999}\r\n"),
                            "* X {5000}\r\n" + std::string(5000, 'x') + "\r\n* Y {5000}\r\n" +
                                std::string(5000, 'x')}) {
    Asked d;
    d.peer(bytes);
    CHECK(d.error().code == Errc::protocol);
  }
}

TEST_CASE("T22 T23 T24 imap upstream: only the human text of a clear greeting is passed on",
          "[proto][imap][security]") {
  const auto greeting = [](std::string_view heard, bool text = true) {
    return greeting_after(heard, "R4nd OK\r\n", text);
  };
  constexpr std::string_view kOwn = "* OK proxy.example IMAP4rev1\r\n";
  CHECK(greeting("* OK \x1b[31;1mmx\x1b[0m\r\n") == kOwn);
  CHECK(greeting("* OK m\xc3\xa9\x1bx there\r\n") == "* OK mx there\r\n");
  CHECK(greeting("* OK [ALERT] hi\r\n") == "* OK hi\r\n");
  CHECK(greeting("* OK [ALERT] [CAPABILITY X] hi\r\n") == "* OK hi\r\n");
  CHECK(greeting("* OK \x01[CAPABILITY X][ALERT]hi\r\n") == "* OK hi\r\n");
  CHECK(greeting("* OK [\x01"
                 "ALERT hi\r\n") == kOwn);
  CHECK(greeting("* OK\r\n") == kOwn);
  CHECK(greeting("* OK hi\r\n", false) == kOwn);
  CHECK(greeting("* OK " + std::string(5000, 'x') + "\r\n") ==
        "* OK " + std::string(505, 'x') + "\r\n");
}

TEST_CASE("imap upstream: D16: an empty line is a mistake of the server, not an attack",
          "[proto][imap]") {
  const auto check = [](const UpstreamDialogue& d) {
    CHECK(d.error().code == Errc::protocol);
    CHECK(d.error().reason == "server sent an empty line");
  };
  for (const auto mode : {TlsMode::starttls, TlsMode::opportunistic}) {
    UpstreamDialogue early{"imap", upstream(mode)};
    early.peer(std::string(kGreeting) + "\r\n");
    check(early);
    Asked d{mode};
    d.peer("* 1 EXISTS\r\n\r\nR4nd OK go\r\n");
    check(d);
    Asked inside{mode};
    inside.peer("R4nd OK go\r\n").secured().peer("\r\n");
    check(inside);
  }
  // After a fallback the empty line is seen only if it comes with the refusal.
  const auto role = find_protocol("imap")->upstream(upstream(TlsMode::opportunistic));
  std::string out;
  REQUIRE(role->begin(out));
  REQUIRE(role->step(kGreeting, out));
  const auto step = role->step("R4nd NO no\r\n\r\n", out);
  REQUIRE(!step);
  CHECK(step.error().code == Errc::protocol);
  CHECK(step.error().reason == "server sent an empty line");
}

TEST_CASE("imap upstream: a malformed capability cannot end the greeting's code", "[proto][imap]") {
  CHECK(greeting_after("* OK hi\r\n", "* CAPABILITY IMAP4rev1 A]B \xff  C\r\nR4nd OK\r\n") ==
        "* OK [CAPABILITY IMAP4rev1 C] hi\r\n");
  // The list is too long for a line that every client can read. The client can ask for it.
  CHECK(greeting_after("* OK hi\r\n", "* CAPABILITY IMAP4rev1 " + std::string(8000, 'x') +
                                          "\r\nR4nd OK\r\n") == "* OK hi\r\n");
}

TEST_CASE("P8 imap upstream: the reply inside TLS is bounded as well", "[proto][imap]") {
  std::string endless;
  while (endless.size() <= kMaxReply) endless += "* OK " + std::string(4000, 'x') + "\r\n";
  Asked d;
  d.peer("R4nd OK\r\n").secured().peer(endless);
  CHECK(d.error().code == Errc::protocol);
}

TEST_CASE("P5 P6 P7 P8 imap upstream: bare LF, NUL, stray CR and endless lines end the session",
          "[proto][imap][security]") {
  using namespace std::string_view_literals;
  const std::string endless = "* OK " + std::string(kMaxLine, 'x');
  for (const auto line : {"* OK mx\n"sv, "* OK a\0b\r\n"sv, "* O\rK hi\r\n"sv, "* OK hi\r\r\n"sv,
                          std::string_view(endless)}) {
    CHECK(greeted_with(line) == Errc::protocol);
    if (line == "* OK mx\n"sv) continue;
    CHECK(greeted_with(line, TlsMode::implicit) == Errc::protocol);
  }
  Asked d;
  d.peer("R4nd OK go\n");
  CHECK(d.error().code == Errc::protocol);
}

// ---------------------------------------------------------------- upstream, other modes

TEST_CASE("imap upstream: opportunistic uses TLS, or reports why it does not", "[proto][imap]") {
  Asked secured{TlsMode::opportunistic};
  secured.peer("R4nd OK\r\n").secured().peer("* CAPABILITY IMAP4rev1\r\nR4nd OK\r\n");
  CHECK(secured.verdict() == Verdict::greeted);
  CHECK(secured.greeting() == "* OK [CAPABILITY IMAP4rev1] mx.example ready\r\n");
  CHECK(secured.fallback_reason().empty());

  for (const auto* refusal :
       {"R4nd NO no\r\n", "R4nd BAD what?\r\n", "* 1 EXISTS\r\nR4nd NO\r\n"}) {
    Asked clear{TlsMode::opportunistic};
    clear.peer(refusal).sends("");
    CHECK(clear.verdict() == Verdict::greeted);
    CHECK(clear.greeting() == kGreeting);
    CHECK(clear.fallback_reason() == "server refused STARTTLS");
  }
}

TEST_CASE("T24 N7 imap upstream: a leg that does not upgrade relays the greeting unchanged",
          "[proto][imap]") {
  for (const auto mode : {TlsMode::implicit, TlsMode::none}) {
    for (const auto* greeting : {"* OK [CAPABILITY IMAP4rev1] \xc3\xa9tat\r\n", "* ok\n",
                                 "* PREAUTH [ALERT] hi {5}\r\n"}) {
      UpstreamDialogue d{"imap", upstream(mode)};
      d.peer(greeting).sends("");
      CHECK(d.verdict() == Verdict::greeted);
      CHECK(d.greeting() == greeting);
    }
  }
}

// ---------------------------------------------------------------- downstream, starttls

TEST_CASE(
    "K9 S4 imap downstream: before TLS the proxy answers, and offers only its own capabilities",
    "[proto][imap]") {
  DownstreamDialogue d{"imap", downstream(TlsMode::starttls),
                       "* OK [CAPABILITY IMAP4rev1 LITERAL+ AUTH=PLAIN] mx.example ready\r\n"};
  CHECK(d.state() == "clear");
  d.to_client(kClearGreeting);
  d.client("a CAPABILITY\r\nb noop\r\nc ID NIL\r\nd ID (\"name\" \"x\")\r\n")
      .to_client(
          "* CAPABILITY IMAP4rev1 STARTTLS LOGINDISABLED\r\na OK CAPABILITY completed\r\n"
          "b OK NOOP completed\r\n* ID NIL\r\nc OK ID completed\r\n"
          "* ID NIL\r\nd OK ID completed\r\n");
  d.client("e STARTTLS\r\n").to_client("").to_server("");
  CHECK(d.client_verdict() == Verdict::start_tls);
  CHECK(d.state() == "starttls");
  d.secured().to_client("").to_server("");
  CHECK(d.client_verdict() == Verdict::need_more);
  CHECK(d.state() == "commands");
  d.client("f CAPABILITY\r\n").to_server("f CAPABILITY\r\n");
  d.server("* CAPABILITY IMAP4rev1 STARTTLS AUTH=PLAIN\r\nf OK\r\n")
      .to_client("* CAPABILITY IMAP4rev1 AUTH=PLAIN\r\nf OK\r\n");
  d.client("g LOGIN u p\r\n").to_server("");
  CHECK(d.client_verdict() == Verdict::relay);
  CHECK(d.server_verdict() == Verdict::relay);
}

TEST_CASE("imap downstream: LOGOUT before TLS is answered and ends the session", "[proto][imap]") {
  Greeted d{TlsMode::starttls};
  d.client("a LOGOUT\r\nb NOOP\r\n")
      .to_client("* BYE Logging out\r\na OK LOGOUT completed\r\n")
      .to_server("");
  CHECK(d.client_verdict() == Verdict::finish);
}

TEST_CASE("imap downstream: the proxy makes the clear greeting itself", "[proto][imap]") {
  const auto seen = [](std::string_view greeting) {
    return greeting_seen(greeting, downstream(TlsMode::starttls));
  };
  constexpr std::string_view kOwn =
      "* OK [CAPABILITY IMAP4rev1 STARTTLS LOGINDISABLED] proxy.example IMAP4rev1\r\n";
  CHECK(seen("* OK\r\n") == kOwn);
  CHECK(seen("* OK [ALERT] \xff\r\n* OK [ALERT] after TLS\r\n") == kOwn);
  CHECK(seen("220 mx\r\n") == kOwn);

  DownstreamDialogue preauth{"imap", downstream(TlsMode::starttls), "* PREAUTH hi\r\n"};
  CHECK(preauth.error().code == Errc::protocol);
}

TEST_CASE("imap downstream: the server's lines wait until the client has TLS",
          "[proto][imap][security]") {
  Greeted d{TlsMode::starttls};
  d.server("* OK [ALERT] hi\r\n").to_client("");
  d.client("a STARTTLS\r\n").secured().to_client("* OK [ALERT] hi\r\n");

  // Lines that came with the greeting, inside the server's TLS (B3).
  DownstreamDialogue with_greeting{"imap", downstream(TlsMode::starttls),
                                   "* OK hi\r\n* OK [ALERT] after TLS\r\n"};
  CHECK(with_greeting.take_to_client().find("ALERT") == std::string::npos);
  with_greeting.client("a STARTTLS\r\n").secured().to_client("* OK [ALERT] after TLS\r\n");
}

TEST_CASE("A2 A9 imap downstream: nothing after STARTTLS is read", "[proto][imap][security]") {
  for (const auto mode : {TlsMode::starttls, TlsMode::opportunistic}) {
    for (const std::string injected : {"XXXXX NOOP\r\n", "X", "\r\n", "a LOGIN u p\r\n"}) {
      Greeted d{mode};
      d.client("A STARTTLS\r\n" + injected).to_client("").to_server("");
      CHECK(d.client_verdict() == Verdict::start_tls);
      CHECK(d.unread_client() == injected);
    }
  }
  // The role provides the words that the leg says then.
  const auto role = find_protocol("imap")->downstream(downstream(TlsMode::starttls));
  std::string out;
  REQUIRE(role->begin(kGreeting, out));
  REQUIRE(role->from_client("A STARTTLS\r\nX NOOP\r\n", out, out));
  CHECK(role->go_ahead() == "A OK Begin TLS negotiation now\r\n");
  CHECK(role->injection_reply() == "A BAD STARTTLS must be the last command\r\n* BYE Closing\r\n");
}

TEST_CASE("A6 A10 imap downstream: only an exact STARTTLS starts TLS", "[proto][imap][security]") {
  const auto role = downstream(TlsMode::starttls);
  check_refused(role, "a STARTTLS x\r\n", "a BAD STARTTLS takes no argument\r\n");
  check_refused(role, "a STARTTLSX\r\n", "a BAD STARTTLS first\r\n");
  check_refused(role, "a  STARTTLS\r\n", "a BAD Invalid command\r\n");
  check_refused(role, " a STARTTLS\r\n", "* BAD Invalid tag\r\n");
  check_refused(role, "a\tSTARTTLS\r\n", "* BAD Invalid tag\r\n");
  check_refused(role, "STARTTLS\r\n", "STARTTLS BAD Invalid command\r\n");
  for (const auto* command : {"a starttls\r\n", "a StartTLS \r\n", "a STARTTLS\n"}) {
    Greeted d{role};
    d.client(command);
    CHECK(d.client_verdict() == Verdict::start_tls);
  }
}

TEST_CASE("imap downstream: D13: a bare LF ends a command in every mode, and passes unchanged",
          "[proto][imap]") {
  for (const auto mode : {TlsMode::none, TlsMode::opportunistic, TlsMode::implicit}) {
    check_passed(downstream(mode), "a NOOP\n");
    check_commits(downstream(mode), "a LOGIN u p\n");
    check_refused(downstream(mode), "a XCLIENT x\n", "a NO Command not allowed\r\n");
  }
  Greeted d{TlsMode::starttls};
  d.client("a NOOP\nb X\nc STARTTLS\n").to_server("");
  d.to_client("a OK NOOP completed\r\nb BAD STARTTLS first\r\n");
  CHECK(d.client_verdict() == Verdict::start_tls);
  d.secured().client("d NOOP\n").to_server("d NOOP\n");

  // On a leg that upgrades, a line of the server still ends in CRLF.
  d.server("d OK\n").to_client("");
  CHECK(d.error().code == Errc::protocol);
}

TEST_CASE("imap downstream: D13: nothing after a STARTTLS that ends in a bare LF is read",
          "[proto][imap][security]") {
  for (const auto mode : {TlsMode::starttls, TlsMode::opportunistic}) {
    for (const std::string injected :
         {"X NOOP\n", "X NOOP\r\n", "X", "\n", "\r\n", "a LOGIN u p\n"}) {
      Greeted d{mode};
      d.client("A STARTTLS\n" + injected).to_client("").to_server("");
      CHECK(d.client_verdict() == Verdict::start_tls);
      CHECK(d.unread_client() == injected);
    }
  }
}

TEST_CASE(
    "A14 S4 imap downstream: the proxy refuses STARTTLS inside TLS, and the server does not get it",
    "[proto][imap][security]") {
  constexpr auto* kActive = "a BAD TLS is already active\r\n";
  check_refused(downstream(TlsMode::implicit), "a STARTTLS\r\n", kActive);
  for (const auto mode : {TlsMode::starttls, TlsMode::opportunistic}) {
    Greeted d{mode};
    d.client("x STARTTLS\r\n").secured();
    d.client("a STARTTLS\r\n").to_client(kActive).to_server("");
    CHECK(d.client_verdict() == Verdict::need_more);
  }
}

TEST_CASE("G3 imap downstream: the proxy refuses STARTTLS if the leg has no TLS",
          "[proto][imap][security]") {
  for (const auto* command : {"a STARTTLS\r\n", "a starttls x\n", "a STARTTLS {3}\r\n",
                              "a STARTTLS {5+}\r\nb X\r\n\r\n"}) {
    check_refused(downstream(TlsMode::none), command, "a BAD STARTTLS is not available\r\n");
  }
}

TEST_CASE("N14 S2 P1 imap downstream: no password is accepted before TLS",
          "[proto][imap][security]") {
  const auto role = downstream(TlsMode::starttls);
  constexpr auto* kNo = "a NO [PRIVACYREQUIRED] STARTTLS first\r\n";
  for (const auto* command :
       {"a LOGIN u p\r\n", "a login u p\r\n", "a AUTHENTICATE PLAIN dGVzdA==\r\n",
        "a AUTHENTICATE PLAIN\r\n", "a LOGIN\r\n", "a LOGIN {5}\r\n", "a LOGIN \"u\" {5}\r\n",
        "a LOGIN {8+}\r\nb NOOP\r\n {4+}\r\nc X\n\r\n", "a LOGIN {0+}\r\n {3}\r\n"}) {
    check_refused(role, command, kNo);
  }
}

TEST_CASE("S3 imap downstream: all other commands before TLS are refused",
          "[proto][imap][security]") {
  const auto role = downstream(TlsMode::starttls);
  for (const auto* command :
       {"a ENABLE X\r\n", "a COMPRESS DEFLATE\r\n", "a SELECT INBOX\r\n", "a FOO\r\n",
        "a NOOP x\r\n", "a CAPABILITY {5}\r\n", "a ID ({4}\r\n", "a ID ({4+}\r\nb X\n)\r\n"}) {
    check_refused(role, command, "a BAD STARTTLS first\r\n");
  }
}

TEST_CASE("P10 C19 imap downstream: literals before TLS get no +, and are not read as commands",
          "[proto][imap][security]") {
  const auto role = downstream(TlsMode::starttls);
  constexpr auto* kBad = "a BAD STARTTLS first\r\n";
  for (const auto* command :
       {"a X {10}\r\n", "a X {0}\r\n", "a X {-1}\r\n", "a X {4294967296}\r\n",
        "a X {18446744073709551616}\r\n", "a X {99999999999999999999}\r\n", "a X {5 }\r\n",
        "a X {}\r\n", "a X {+}\r\n", "a X {5}x\r\n", "a X \"\\\"{5}\"\r\n", "a X ~{5}\r\n",
        "a X {10+}\r\nb NOOP\r\nc \r\n", "a X {0+}\r\n\r\n", "a X }\r\n",
        "a X {3+}\r\n\r\n\n{9}\r\n"}) {
    check_refused(role, command, kBad);
  }
  for (const auto* command : {"+ NOOP\r\n", "* NOOP\r\n", " NOOP\r\n", "a+b NOOP\r\n", "\r\n",
                              "(a NOOP\r\n", "a{ NOOP\r\n", "a% NOOP\r\n", "a\"b NOOP\r\n",
                              "\xff NOOP\r\n", "{5}\r\n", "{5+}\r\nb X\r\n\r\n"}) {
    check_refused(role, command, "* BAD Invalid tag\r\n");
  }
  check_refused(role, std::string(65, 'a') + " NOOP\r\n", "* BAD Invalid tag\r\n");
  const std::string longest(64, 'a');
  check_refused(role, longest + " X\r\n", longest + " BAD STARTTLS first\r\n");
}

TEST_CASE("P10 imap downstream: non-synchronizing literals are swallowed up to 4 KiB",
          "[proto][imap][security]") {
  const auto role = downstream(TlsMode::starttls);
  check_refused(role, "a X {4096+}\r\n" + std::string(4096, '\0') + "\r\n",
                "a BAD STARTTLS first\r\n");
  std::string drops;
  check_refused(
      role,
      "a X {2048+}\r\n" + std::string(2048, 'x') + " {2048+}\r\n" + std::string(2048, 'x') + "\r\n",
      "a BAD STARTTLS first\r\n");
  for (int i = 0; i < 1500; ++i) drops += "{0+}\r\n";
  for (const auto& command :
       {std::string("a X {4097+}\r\n"), std::string("a X {4294967296+}\r\n"),
        std::string("a X {18446744073709551616+}\r\n"),
        "a X {4000+}\r\n" + std::string(4000, 'x') + " {97+}\r\n", "a X " + drops}) {
    Greeted d{role};
    d.client(command).to_client("").to_server("");
    CHECK(d.error().code == Errc::client_protocol);
    CHECK(d.error().evidence.empty());
  }
}

TEST_CASE("P20 imap downstream: twenty refusals end the session, before TLS and inside it",
          "[proto][imap][security]") {
  for (const auto mode : {TlsMode::starttls, TlsMode::none}) {
    Greeted d{mode};
    for (int i = 0; i < 19; ++i) d.client(i % 2 == 0 ? "a STARTTLS x\r\n" : "\r\n");
    CHECK(!d.failed());
    static_cast<void>(d.take_to_client());
    d.client("a STARTTLS x\r\n").to_client("").to_server("");
    CHECK(d.error().code == Errc::too_many_errors);
  }
  Greeted secured{TlsMode::starttls};
  for (int i = 0; i < 19; ++i) secured.client("a X\r\n");
  secured.client("b STARTTLS\r\n").secured().client("c STARTTLS\r\n");
  CHECK(!secured.failed());
}

TEST_CASE("P20 imap downstream: the server's refusals count as well", "[proto][imap]") {
  Greeted d{TlsMode::none};
  for (int i = 0; i < 19; ++i) {
    d.client("a FOO\r\n").to_server("a FOO\r\n");
    d.server(i % 2 == 0 ? "a NO no\r\n" : "* BAD what?\r\n").server("* NO just a warning\r\n");
  }
  CHECK(!d.failed());
  static_cast<void>(d.take_to_client());
  d.client("a FOO\r\n").server("a BAD no\r\n").to_client("a BAD no\r\n");
  CHECK(d.error().code == Errc::too_many_errors);
}

TEST_CASE(
    "P6 P7 P8 imap downstream: a malformed line is the client's error, and its text is not passed "
    "on",
    "[proto][imap][security]") {
  using namespace std::string_view_literals;
  for (const auto mode : kAllModes) {
    for (const auto& command :
         {std::string("a NOOP\0\r\n"sv), std::string("a STAR\rTTLS\r\n"),
          std::string("a NOOP\r\r\n"), "a SECRET u " + std::string(kMaxLine, 'x')}) {
      Greeted d{mode};
      d.client(command).to_server("").to_client("");
      CHECK(d.error().code == Errc::client_protocol);
      CHECK(d.error().evidence.empty());
      CHECK(d.error().reason.find("SECRET") == std::string::npos);
    }
  }
}

TEST_CASE("imap downstream: D9: a login longer than a line commits by its verb, before its end",
          "[proto][imap]") {
  for (const auto mode : {TlsMode::none, TlsMode::opportunistic, TlsMode::implicit}) {
    for (const std::string verb :
         {"AUTHENTICATE PLAIN", "authenticate PLAIN", "LOGIN u", "COMPRESS"}) {
      for (const auto size : {kMaxLine, std::size_t{90'000}}) {
        const auto command = "a " + verb + ' ' + std::string(size, 'x');
        check_commits(downstream(mode), command);
        check_commits(downstream(mode), command + "\r\n");
      }
    }
    // It commits no byte earlier. A line that ends in time is looked at as a whole.
    const auto longest = "a LOGIN u " + std::string(kMaxLine - 12, 'x') + "\r\n";
    REQUIRE(longest.size() == kMaxLine);
    check_commits(downstream(mode), longest);
    Greeted d{mode};
    d.client(longest.substr(0, kMaxLine - 1)).to_server("").to_client("");
    CHECK(d.client_verdict() == Verdict::need_more);
  }
}

TEST_CASE(
    "imap downstream: D9: before TLS in mode starttls, or with another verb, the long line is an "
    "error",
    "[proto][imap][security]") {
  const std::string rest(kMaxLine, 'x');
  auto barred = downstream(TlsMode::none);
  barred.client_certificate = true;
  const auto none = downstream(TlsMode::none);
  for (const auto& [role, command] :
       {std::pair{downstream(TlsMode::starttls), "a AUTHENTICATE PLAIN " + rest},
        std::pair{none, "a ID (" + rest}, std::pair{none, "a FOO " + rest},
        std::pair{none, "a  LOGIN u " + rest}, std::pair{none, "+ LOGIN u " + rest},
        std::pair{none, "a LOGIN" + rest}, std::pair{barred, "a AUTHENTICATE EXTERNAL " + rest},
        std::pair{barred, "a AUTHENTICATE \"" + rest}}) {
    Greeted d{role};
    d.client(command).to_server("").to_client("");
    CHECK(d.error().code == Errc::client_protocol);
  }
  check_commits(barred, "a AUTHENTICATE PLAIN " + rest);
  Greeted d{none, "* PREAUTH hi\r\n"};
  d.client("a FOO " + rest);
  CHECK(d.client_verdict() == Verdict::relay);
}

// ---------------------------------------------------------------- downstream, opportunistic

TEST_CASE("imap downstream: opportunistic offers STARTTLS and lets the client choose",
          "[proto][imap][caps]") {
  const auto role = downstream(TlsMode::opportunistic);
  CHECK(greeting_seen("* OK [CAPABILITY IMAP4rev1 STARTTLS ID] hi\r\n", role) ==
        "* OK [CAPABILITY IMAP4rev1 ID STARTTLS] hi\r\n");
  CHECK(greeting_seen("* OK hi\r\n", role) == "* OK hi\r\n");
  CHECK(greeting_seen("* OK [ALERT] hi\r\n", role) == "* OK [ALERT] hi\r\n");
  CHECK(as_seen("* CAPABILITY IMAP4rev1 AUTH=PLAIN\r\na OK\r\n", role) ==
        "* CAPABILITY IMAP4rev1 AUTH=PLAIN STARTTLS\r\na OK\r\n");
  check_commits(role, "a LOGIN u p\r\n");
  check_passed(role, "a FOO\r\n");
}

TEST_CASE("A11 imap downstream: STARTTLS waits for the replies to earlier commands",
          "[proto][imap][security]") {
  Greeted d{TlsMode::opportunistic};
  d.client("a CAPABILITY\r\nb ID NIL\r\nc STARTTLS\r\nd NOOP\r\n")
      .to_server("a CAPABILITY\r\nb ID NIL\r\n");
  CHECK(d.client_verdict() == Verdict::need_more);
  CHECK(d.unread_client() == "d NOOP\r\n");
  d.server("* ID {4}\r\nb OK\r\nb OK\r\n").to_client("* ID {4}\r\nb OK\r\nb OK\r\n");
  CHECK(d.server_verdict() == Verdict::need_more);
  d.server(")\r\nb OK\r\n* CAPABILITY A\r\na OK\r\n* BYE")
      .to_client(")\r\nb OK\r\n* CAPABILITY A STARTTLS\r\na OK\r\n");
  CHECK(d.server_verdict() == Verdict::start_tls);
  CHECK(d.unread_client() == "d NOOP\r\n");
  d.secured().to_client("").to_server("");
  d.server(" x\r\n").to_client("* BYE x\r\n");
  d.client("e CAPABILITY\r\n").to_server("e CAPABILITY\r\n");
  d.server("* CAPABILITY A STARTTLS\r\ne OK\r\n").to_client("* CAPABILITY A\r\ne OK\r\n");
}

TEST_CASE("S2 imap downstream: after PREAUTH there is no STARTTLS, and no login to watch for",
          "[proto][imap]") {
  constexpr std::string_view kPreauth = "* PREAUTH [CAPABILITY IMAP4rev1 STARTTLS] hi\r\n";
  const auto role = downstream(TlsMode::opportunistic);
  CHECK(greeting_seen(kPreauth, role) == "* PREAUTH [CAPABILITY IMAP4rev1] hi\r\n");
  Greeted d{role, kPreauth};
  d.client("a STARTTLS\r\n").to_client("a BAD STARTTLS is not available\r\n");
  d.client("a SELECT INBOX\r\n");
  CHECK(d.client_verdict() == Verdict::relay);
  CHECK(d.server_verdict() == Verdict::relay);
}

// ---------------------------------------------------------------- downstream, until the relay

TEST_CASE("imap downstream: LOGIN, AUTHENTICATE, COMPRESS and literals commit, other commands pass",
          "[proto][imap]") {
  for (const auto mode : {TlsMode::none, TlsMode::opportunistic, TlsMode::implicit}) {
    const auto role = downstream(mode);
    for (const auto* command :
         {"a LOGIN u p\r\n", "a login {5}\r\n", "a AUTHENTICATE PLAIN\r\n",
          "a COMPRESS DEFLATE\r\n", "a IDX ({5}\r\n", "a FOO {5+}\r\n",
          "a FOO {99999999999999999999}\r\n", "a AUTHENTICATE EXTERNAL =\r\n"}) {
      check_commits(role, command);
    }
    for (const auto* command :
         {"a NOOP\r\n", "a CAPABILITY\r\n", "a ID (\"a\" \"{5}\")\r\n", "a LOGINX u p\r\n",
          "a FOO LOGIN\r\n", "a LOGOUT\r\n", "a FOO {5}x\r\n", "a FOO {-1}\r\n", "A.b]: NOOP \r\n",
          "a FOO \xc3\xa9\r\n"}) {
      check_passed(role, command);
    }
  }
  check_passed(downstream(TlsMode::none), "a NOOP\n");
  check_commits(downstream(TlsMode::implicit), "a LOGIN u p\n");
}

TEST_CASE("imap downstream: D14: an ID is read with its literals, and does not commit",
          "[proto][imap][security]") {
  for (const auto mode : {TlsMode::none, TlsMode::opportunistic, TlsMode::implicit}) {
    // Every split is tried. So the STARTTLS inside a literal is also seen as a line of its own.
    Greeted d{mode};
    d.client("a ID (\"name\" {14+}\r\nb STARTTLS\r\nx {1+}\r\nv NIL)\r\nc NOOP\r\n");
    d.to_client("a BAD Invalid ID\r\n").to_server("c NOOP\r\n");
    d.client("d id ({4+}\r\nname {10+}\r\nb STARTTLS)\r\ne NOOP\r\n").to_client("");
    d.to_server("d id (\"name\" \"b STARTTLS\")\r\ne NOOP\r\n");
    CHECK(d.client_verdict() == Verdict::need_more);
    d.server("* ID NIL\r\nd OK\r\nc OK\r\ne OK\r\n")
        .to_client("* ID NIL\r\nd OK\r\nc OK\r\ne OK\r\n");
    d.client("f LOGIN u p\r\n");
    CHECK(d.client_verdict() == Verdict::relay);
    CHECK(d.server_verdict() == Verdict::relay);
  }
}

TEST_CASE("imap downstream: D14: the proxy sends the + for each literal of an ID",
          "[proto][imap]") {
  Greeted d{TlsMode::opportunistic};
  d.client("a ID ({4}\r\n").to_client("+ Ready for literal data\r\n").to_server("");
  d.client("na").client("me {1}\r\n").to_client("+ Ready for literal data\r\n").to_server("");
  d.client("x)\r\n").to_client("").to_server("a ID (\"name\" \"x\")\r\n");
  CHECK(d.unread_client().empty());
  // STARTTLS may follow the ID. Outlook does this.
  d.client("b STARTTLS\r\n").to_client("");
  d.server("* ID NIL\r\na OK\r\n").to_client("* ID NIL\r\na OK\r\n");
  CHECK(d.server_verdict() == Verdict::start_tls);
  d.secured().client("c ID ({4}\r\n").to_client("+ Ready for literal data\r\n").to_server("");
}

TEST_CASE("imap downstream: D14: the + waits for the replies to earlier commands",
          "[proto][imap]") {
  Greeted d{TlsMode::none};
  d.client("a NOOP\r\nb NOOP\r\nc ID ({4}\r\n").to_server("a NOOP\r\nb NOOP\r\n").to_client("");
  d.server("b OK\r\n* X {1}\r\n").to_client("b OK\r\n* X {1}\r\n");
  d.server("x\r\na OK\r\n").to_client("x\r\na OK\r\n+ Ready for literal data\r\n");
  d.client("name NIL)\r\n").to_server("c ID (\"name\" NIL)\r\n").to_client("");

  // A client that does not wait for the + gets it all the same.
  Greeted hasty{TlsMode::none};
  hasty.client("a NOOP\r\nb ID ({4}\r\nname NIL)\r\n");
  hasty.to_server("a NOOP\r\nb ID (\"name\" NIL)\r\n").to_client("+ Ready for literal data\r\n");
  hasty.server("a OK\r\nb OK\r\n").to_client("a OK\r\nb OK\r\n");
  Greeted broken{TlsMode::none};
  broken.client("a ID ({4}\r\nname \0"sv).to_client("+ Ready for literal data\r\n").to_server("");
  CHECK(broken.error().code == Errc::client_protocol);
}

TEST_CASE("imap downstream: D15: an ID reaches the server without the client's claims",
          "[proto][imap][security]") {
  const auto check = [](std::string_view said, std::string_view heard) {
    for (const auto mode : {TlsMode::none, TlsMode::opportunistic, TlsMode::implicit}) {
      Greeted d{mode};
      d.client(said).to_server(heard).to_client("");
    }
    Greeted d{TlsMode::starttls};
    d.client("s STARTTLS\r\n").secured().client(said).to_server(heard).to_client("");
  };
  check("a ID (\"name\" \"x\" \"version\" NIL)\r\n", "a ID (\"name\" \"x\" \"version\" NIL)\r\n");
  check("a ID NIL\n", "a ID NIL\n");
  check("a ID\r\n", "a ID\r\n");
  check("a ID \r\n", "a ID \r\n");
  check("a ID (\"x-originating-ip\" \"192.0.2.1\")\r\n", "a ID NIL\r\n");
  check("a iD (\"name\" \"x\" \"X-\\Proxy-TTL\"\"1\" {12+}\r\nx-session-id \"s\")\n",
        "a iD (\"name\" \"x\")\n");
  check("a ID (\"x-forward-a\" \"1\")\r\nb ID (\"x-connected-ip\" \"1\" \"a\" \"b\")\r\n",
        "a ID NIL\r\nb ID (\"a\" \"b\")\r\n");
}

TEST_CASE("imap downstream: D15: a malformed ID is refused together with its literals",
          "[proto][imap][security]") {
  for (const auto mode : {TlsMode::none, TlsMode::opportunistic, TlsMode::implicit}) {
    const auto role = downstream(mode);
    for (const auto* command :
         {"a ID (\"a\")\r\n", "a ID (\"a\" \"b\r\n", "a ID ((\"x-proxy-ttl\" \"1\"))\r\n",
          "a ID (\"a\" {5-}\r\n", "a ID (\"a\" {1025}\r\n", "a ID (\"x-proxy-ttl\" \"1\") x\r\n",
          "a ID ({20+}\r\nx-originating-ip\r\nb \"1\")\r\n",
          "a ID x {9+}\r\nb NOOP\r\n {3+}\r\nxyz\r\n"}) {
      check_refused(role, command, "a BAD Invalid ID\r\n");
    }
    for (const auto* command :
         {"a  ID NIL\r\n", "a ID(\"x-proxy-ttl\" \"1\")\r\n", "a ID\tNIL\r\n"}) {
      check_refused(role, command, "a BAD Invalid command\r\n");
    }
    Greeted d{mode};
    d.client("a ID x {4097+}\r\n").to_server("");
    CHECK(d.error().code == Errc::client_protocol);
    Greeted errors{mode};
    for (int i = 0; i < 20; ++i) errors.client("a ID x\r\n");
    CHECK(errors.error().code == Errc::too_many_errors);
  }
  // After PREAUTH there is no login, so the ID could not affect one.
  Greeted d{downstream(TlsMode::none), "* PREAUTH hi\r\n"};
  d.client("a ID (\"x-proxy-ttl\" {1}\r\n").to_client("").to_server("");
  CHECK(d.client_verdict() == Verdict::relay);
}

TEST_CASE(
    "P10 imap downstream: the proxy refuses a malformed command, with its tag if the tag is valid",
    "[proto][imap]") {
  for (const auto mode : {TlsMode::none, TlsMode::opportunistic, TlsMode::implicit}) {
    const auto role = downstream(mode);
    for (const auto* command : {"+ NOOP\r\n", "* NOOP\r\n", " a NOOP\r\n", "\r\n", "a\tNOOP\r\n"}) {
      check_refused(role, command, "* BAD Invalid tag\r\n");
    }
    for (const auto* command : {"a\r\n", "a \r\n", "a  NOOP\r\n", "a (NOOP\r\n", "a NO\tOP\r\n"}) {
      check_refused(role, command, "a BAD Invalid command\r\n");
    }
  }
}

TEST_CASE("G2 imap downstream: the server's direction relays once all replies have passed",
          "[proto][imap]") {
  Greeted d{TlsMode::none};
  d.client("a CAPABILITY\r\na NOOP\r\nc LOGIN u p\r\nd SELECT x\r\n")
      .to_server("a CAPABILITY\r\na NOOP\r\n");
  CHECK(d.client_verdict() == Verdict::relay);
  CHECK(d.unread_client() == "c LOGIN u p\r\nd SELECT x\r\n");
  CHECK(d.server_verdict() == Verdict::need_more);
  CHECK(d.state() == "committed");
  d.server("a OK one\r\n* CAPABILITY A STARTTLS\r\n").to_client("a OK one\r\n* CAPABILITY A\r\n");
  CHECK(d.server_verdict() == Verdict::need_more);
  d.server("a OK two\r\nc OK [CAPABILITY STARTTLS] in\r\n").to_client("a OK two\r\n");
  CHECK(d.server_verdict() == Verdict::relay);
  CHECK(d.unread_server() == "c OK [CAPABILITY STARTTLS] in\r\n");
}

TEST_CASE("imap downstream: D4: a tagged reply to the committing command starts the relay, or a +",
          "[proto][imap]") {
  // The server never answers the ID with its tag.
  for (const std::string_view reply :
       {"b OK [CAPABILITY STARTTLS] in\r\n"sv, "b NO no\r\n"sv, "b BAD no\r\n"sv, "b HM\r\n"sv,
        "+ \r\n"sv, "+\r\n"sv, "+ {999999}\r\n"sv}) {
    Greeted d{TlsMode::none};
    d.client("a ID NIL\r\nb LOGIN u p\r\n").to_server("a ID NIL\r\n");
    d.server("* NO [ALERT] who?\r\n").to_client("* NO [ALERT] who?\r\n");
    CHECK(d.server_verdict() == Verdict::need_more);
    d.server(std::string(reply) + "* CAPABILITY STARTTLS\r\n").to_client("");
    CHECK(d.server_verdict() == Verdict::relay);
    CHECK(d.unread_server() == std::string(reply) + "* CAPABILITY STARTTLS\r\n");
  }
}

TEST_CASE(
    "imap downstream: D4: the reply to an earlier command with the same tag is not the commit's",
    "[proto][imap]") {
  Greeted d{TlsMode::none};
  d.client("a CAPABILITY\r\nx NOOP\r\na LOGIN u p\r\n");
  d.server("* CAPABILITY STARTTLS A\r\na OK one\r\n").to_client("* CAPABILITY A\r\na OK one\r\n");
  CHECK(d.server_verdict() == Verdict::need_more);
  d.server("a OK two\r\n").to_client("");
  CHECK(d.server_verdict() == Verdict::relay);
}

TEST_CASE("imap downstream: D4: after the commit no limit of the prelude ends the session",
          "[proto][imap]") {
  const std::string filling(70'000, 'x');
  for (const auto& words :
       {std::string("* OK a\0\r\n"sv), std::string("* OK a\rb\r\n"), "* OK " + filling,
        std::string("* OK bare\n"), std::string("* ID {65536}\r\n"), "* ID {150000}\r\n" + filling,
        std::string("* ID {18446744073709551616}\r\n")}) {
    Greeted d{TlsMode::none};
    d.client("a ID NIL\r\n").server("* OK hi\r\n").to_client("* OK hi\r\n");
    d.client("b LOGIN u p\r\n");
    CHECK(d.client_verdict() == Verdict::relay);
    CHECK(d.server_verdict() == Verdict::need_more);
    d.server(words).to_client("");
    CHECK(d.server_verdict() == Verdict::relay);
    CHECK(d.unread_server() == words);
  }
  // The same holds inside a response.
  Greeted chain{TlsMode::none};
  const std::string first = "* ID {40000}\r\n" + std::string(40'000, 'x');
  chain.client("a ID NIL\r\nb LOGIN u p\r\n").server(first).to_client(first);
  chain.server(" {40000}\r\nabc").to_client("");
  CHECK(chain.server_verdict() == Verdict::relay);
  CHECK(chain.unread_server() == " {40000}\r\nabc");

  // Refusals of earlier commands do not end the session either.
  Greeted d{TlsMode::none};
  std::string commands;
  for (int i = 0; i < 25; ++i) commands += "a X\r\n";
  d.client(commands + "b LOGIN u p\r\n");
  for (int i = 0; i < 25; ++i) d.server("a BAD no\r\n").to_client("a BAD no\r\n");
  CHECK(!d.failed());
  CHECK(d.server_verdict() == Verdict::relay);
}

TEST_CASE("imap downstream: a reply whose tag the server could not read still counts",
          "[proto][imap]") {
  Greeted d{TlsMode::none};
  d.client("a FOO\r\nb LOGIN u p\r\n").to_server("a FOO\r\n");
  d.server("* BAD what?\r\nb OK").to_client("* BAD what?\r\n");
  CHECK(d.server_verdict() == Verdict::relay);
  CHECK(d.unread_server() == "b OK");
}

TEST_CASE("P11 imap downstream: literals of the server pass by byte count, with any content",
          "[proto][imap]") {
  constexpr std::string_view kNamespace =
      "* NAMESPACE ((\"\" {35}\r\n* CAPABILITY X STARTTLS\r\na OK x\r\n\r\n {3}\r\n{9})) "
      "{0}\r\n\r\n";
  Greeted d{TlsMode::none};
  d.client("a NAMESPACE\r\nb LOGIN u p\r\n").to_server("a NAMESPACE\r\n");
  d.server(kNamespace).to_client(kNamespace);
  CHECK(d.server_verdict() == Verdict::need_more);
  d.server("* CAPABILITY X STARTTLS\r\na OK text {5}\r\nb OK")
      .to_client("* CAPABILITY X\r\na OK text {5}\r\n");
  CHECK(d.server_verdict() == Verdict::relay);
  CHECK(d.unread_server() == "b OK");
}

TEST_CASE("imap downstream: our replies never cut into a response of the server", "[proto][imap]") {
  Greeted d{TlsMode::none};
  d.client("a ID NIL\r\n").server("* ID ({6}\r\nab").to_client("* ID ({6}\r\nab");
  d.client("b STARTTLS\r\nc STARTTLS\r\n").to_client("");
  d.server("cd\r\n").to_client("cd\r\n");
  d.server(" NIL)\r\n")
      .to_client(" NIL)\r\nb BAD STARTTLS is not available\r\nc BAD STARTTLS is not available\r\n");
  d.client("d STARTTLS\r\n").to_client("d BAD STARTTLS is not available\r\n");
}

TEST_CASE("imap downstream: unsolicited responses of the server pass", "[proto][imap]") {
  constexpr std::string_view kUnasked =
      "* OK still here\r\n* BYE idle for too long\r\n+ what\r\nz OK who?\r\nz NO no\r\nfoo\r\n\r\n";
  Greeted d{TlsMode::none};
  d.server(kUnasked).to_client(kUnasked);
  CHECK(d.server_verdict() == Verdict::need_more);
}

TEST_CASE("P6 P8 imap downstream: a malformed or endless response ends the session",
          "[proto][imap]") {
  using namespace std::string_view_literals;
  const std::string endless = "* ID " + std::string(kMaxLine, 'x');
  const std::string chain = "* ID {40000}\r\n" + std::string(40000, 'x') + " {40000}\r\n";
  for (const auto response :
       {"* OK a\0\r\n"sv, "* OK a\rb\r\n"sv, "* ID {65536}\r\n"sv,
        "* ID {18446744073709551616}\r\n"sv, std::string_view(endless), std::string_view(chain)}) {
    Greeted d{TlsMode::none};
    d.server(response);
    CHECK(d.error().code == Errc::protocol);
  }
}

TEST_CASE("imap downstream: commands without a reply are bounded", "[proto][imap][security]") {
  Greeted d{TlsMode::none};
  std::string commands;
  for (int i = 0; i < 1000; ++i) commands += "a X\n";
  d.client(commands).to_server(commands);
  CHECK(!d.failed());
  d.client("a X\n").to_server("");
  CHECK(d.error().code == Errc::client_protocol);
}

// ---------------------------------------------------------------- capability lists

TEST_CASE("K1 K8 G15 imap list: STARTTLS is removed from greeting, list and codes",
          "[proto][imap][caps]") {
  for (const auto mode : {TlsMode::none, TlsMode::implicit}) {
    const auto role = downstream(mode);
    CHECK(greeting_seen("* OK [CAPABILITY STARTTLS IMAP4rev1 starttls] hi\r\n", role) ==
          "* OK [CAPABILITY IMAP4rev1] hi\r\n");
    CHECK(greeting_seen("* OK [CAPABILITY A STARTTLS]\r\n* OK [CAPABILITY STARTTLS A] x\r\n",
                        role) == "* OK [CAPABILITY A]\r\n* OK [CAPABILITY A] x\r\n");
    auto clear = role;
    clear.upstream = TlsMode::none;
    CHECK(as_seen("* capability IMAP4rev1 STARTTLS\n", clear) == "* capability IMAP4rev1\n");
    CHECK(as_seen("a OK [capability IMAP4rev1 STARTTLS ID] done\r\n", role) ==
          "a OK [capability IMAP4rev1 ID] done\r\n");
    CHECK(as_seen("* CAPABILITY STARTTLS\r\n", role) == "* CAPABILITY \r\n");
  }
}

TEST_CASE(
    "G16 imap list: everything else passes unchanged, including the server's own LOGINDISABLED",
    "[proto][imap][caps]") {
  for (const auto* line :
       {"* CAPABILITY IMAP4rev1  LOGINDISABLED AUTH=PLAIN SASL-IR COMPRESS=DEFLATE\r\n",
        "* CAPABILITY\r\n", "* CAPABILITY \r\n", "* CAPABILITYX STARTTLS\r\n",
        "a NO [CAPABILITY STARTTLS] no\r\n", "a BAD [CAPABILITY STARTTLS] no\r\n",
        "a OK [CAPABILITY STARTTLS no\r\n", "a OK [ALERT] [CAPABILITY STARTTLS] x\r\n",
        "a OK [CAPABILITYX STARTTLS] x\r\n", "* OK text STARTTLS\r\n",
        "* ID (\"STARTTLS\" NIL)\r\n", "a OK [CAPABILITY]\r\n",
        "* CAPABILITY XSTARTTLS STARTTLSX AUTH=PLUS AUTHX=-PLUS\r\n"}) {
    CHECK(as_seen(line) == line);
  }
  for (const auto* line : {"* CAPABILITY\r\n", "* OK x\r\n", "a OK [CAPABILITY]\r\n"}) {
    CHECK(as_seen(line, TlsMode::opportunistic) == line);
  }
}

TEST_CASE("K5 imap list: mechanisms with channel binding are removed",
          "[proto][imap][caps][security]") {
  CHECK(as_seen("* CAPABILITY AUTH=SCRAM-SHA-1-PLUS AUTH=SCRAM-SHA-1 auth=x-plus SASL-IR\r\n") ==
        "* CAPABILITY AUTH=SCRAM-SHA-1 SASL-IR\r\n");
  CHECK(greeting_seen("* OK [CAPABILITY A AUTH=SCRAM-SHA-256-PLUS] hi\r\n",
                      downstream(TlsMode::implicit)) == "* OK [CAPABILITY A] hi\r\n");
}

TEST_CASE("K7 imap: EXTERNAL is not offered or accepted if the proxy's certificate would log in",
          "[proto][imap][caps][security]") {
  constexpr auto* kOffer = "* CAPABILITY AUTH=PLAIN AUTH=external AUTH=EXTERNALX\r\n";
  auto role = downstream(TlsMode::none);
  CHECK(as_seen(kOffer, role) == kOffer);
  check_commits(role, "a AUTHENTICATE EXTERNAL\r\n");
  role.client_certificate = true;
  CHECK(as_seen(kOffer, role) == "* CAPABILITY AUTH=PLAIN AUTH=EXTERNALX\r\n");
  // This holds for every form that a server accepts.
  for (const auto* command : {"a AUTHENTICATE EXTERNAL\r\n", "a authenticate external =\r\n",
                              "a AUTHENTICATE \"EXTERNAL\"\r\n", "a AUTHENTICATE {8}\r\n",
                              "a AUTHENTICATE {8+}\r\nEXTERNAL\r\n", "a AUTHENTICATE  EXTERNAL\r\n",
                              "a AUTHENTICATE\r\n", "a AUTHENTICATE \tEXTERNAL\r\n"}) {
    check_refused(role, command, "a NO Mechanism not available\r\n");
  }
  check_commits(role, "a AUTHENTICATE PLAIN EXTERNAL\r\n");
}

TEST_CASE("failure: imap sends BYE, and the side that failed", "[proto][imap][table]") {
  const auto reply = [](Errc code) {
    return failure_reply(*find_protocol("imap"), Error{code, "why", "evidence"}, "proxy.example");
  };
  for (const auto code :
       {Errc::unreachable, Errc::timeout, Errc::greeting_refused, Errc::limit, Errc::attack,
        Errc::protocol, Errc::too_many_errors, Errc::handshake, Errc::certificate, Errc::tls}) {
    CHECK(reply(code) == "* BYE [UNAVAILABLE] proxy.example why\r\n");
  }
  CHECK(reply(Errc::client_protocol) == "* BYE [CLIENTBUG] proxy.example why\r\n");
}
