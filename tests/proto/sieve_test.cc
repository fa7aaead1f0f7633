#include <string>

#include "lib/base/ascii.h"
#include "lib/proto/lines.h"
#include "tests/support/catch.h"
#include "tests/support/dialogue.h"
#include "tests/support/roles.h"

// Names begin with ids of attacks and edge cases. The letters mean: A command injection, B response
// injection, N negotiation, T tampering, S state over TLS, G general, P parser, K capabilities, M
// bytes that a relay must not change.

using namespace starttls;
using namespace starttls::proto;
using starttls::test::downstream;
using starttls::test::DownstreamDialogue;
using starttls::test::upstream;
using starttls::test::UpstreamDialogue;

namespace {

constexpr std::string_view kClearList =
    "\"IMPLEMENTATION\" \"timsieved\"\r\n\"SASL\" \"\"\r\n\"SIEVE\" \"evil\"\r\n\"STARTTLS\"\r\n"
    "OK \"ready\"\r\n";
constexpr std::string_view kListWithoutTls =
    "\"IMPLEMENTATION\" \"timsieved\"\r\n\"SASL\" \"PLAIN\"\r\nOK\r\n";
constexpr std::string_view kTlsList =
    "\"IMPLEMENTATION\" \"timsieved\"\r\n\"SASL\" \"PLAIN LOGIN\"\r\n\"SIEVE\" \"fileinto\"\r\n"
    "\"VERSION\" \"1.0\"\r\nOK \"TLS negotiation successful.\"\r\n";
/// The same with STARTTLS, as an opportunistic leg offers it.
constexpr std::string_view kOfferedList =
    "\"IMPLEMENTATION\" \"timsieved\"\r\n\"SASL\" \"PLAIN LOGIN\"\r\n\"SIEVE\" \"fileinto\"\r\n"
    "\"VERSION\" \"1.0\"\r\n\"STARTTLS\"\r\nOK \"TLS negotiation successful.\"\r\n";
constexpr std::string_view kOwnList =
    "\"IMPLEMENTATION\" \"starttls-proxy\"\r\n\"SASL\" \"\"\r\n\"SIEVE\" \"\"\r\n\"STARTTLS\"\r\n"
    "\"VERSION\" \"1.0\"\r\nOK \"STARTTLS is required\"\r\n";

constexpr std::string_view kNotNow = "NO (ENCRYPT-NEEDED) \"Use STARTTLS first\"\r\n";
constexpr std::string_view kUnavailable = "NO \"STARTTLS is not available\"\r\n";
constexpr std::string_view kActive = "NO \"TLS is already active\"\r\n";

/// Plays the dialogue up to our STARTTLS.
void ask_for_tls(UpstreamDialogue& d) {
  d.sends("");
  d.peer(kClearList).sends("STARTTLS\r\n");
}

/// Plays the dialogue up to the silence after the handshake.
void secure(UpstreamDialogue& d) {
  ask_for_tls(d);
  d.peer("OK \"Begin TLS\"\r\n").secured().sends("");
}

Errc greeted_with(std::string_view bytes) {
  UpstreamDialogue d{"sieve", upstream(TlsMode::starttls)};
  d.peer(bytes).sends("");
  return d.error().code;
}

/// A client that is greeted with the list that the server has inside TLS, unless the constructor
/// gets another list.
class SieveDialogue final : public DownstreamDialogue {
 public:
  explicit SieveDialogue(TlsMode mode)
      : SieveDialogue(downstream(mode), kTlsList, greeting_in(mode)) {}
  explicit SieveDialogue(const RoleSettings& role)
      : SieveDialogue(role, kTlsList, greeting_in(role.downstream)) {}
  SieveDialogue(const RoleSettings& role, std::string_view greeting, std::string_view shown)
      : DownstreamDialogue("sieve", role, greeting) {
    if (shown != greeting) to_client(shown);
  }

 private:
  static std::string_view greeting_in(TlsMode mode) {
    if (mode == TlsMode::starttls) return kOwnList;
    return mode == TlsMode::opportunistic ? kOfferedList : kTlsList;
  }
};

/// Returns the server's reply to CAPABILITY as the client sees it.
std::string list_for_client(std::string_view list, TlsMode mode = TlsMode::none,
                            bool client_certificate = false) {
  auto role = downstream(mode);
  role.client_certificate = client_certificate;
  SieveDialogue d{role};
  d.client("CAPABILITY\r\n").to_server("CAPABILITY\r\n").to_client("");
  return d.server(list).take_to_client();
}

void check_commits(TlsMode mode, std::string_view command) {
  SieveDialogue d{mode};
  d.client(command).to_server("").to_client("");
  CHECK(d.client_verdict() == Verdict::relay);
  CHECK(d.server_verdict() == Verdict::relay);
  CHECK(d.unread_client() == command);
}

}  // namespace

// ---------------------------------------------------------------- upstream, starttls

TEST_CASE("sieve upstream: the role conducts STARTTLS, and the list after it is the greeting",
          "[proto][sieve]") {
  UpstreamDialogue d{"sieve", upstream(TlsMode::starttls)};
  CHECK(d.state() == "greeting");
  ask_for_tls(d);
  CHECK(d.state() == "starttls");
  d.peer("OK (WARNINGS) \"Begin TLS\"\r\n").sends("");
  CHECK(d.verdict() == Verdict::start_tls);
  CHECK(d.state() == "tls");
  d.secured().sends("");
  CHECK(d.verdict() == Verdict::need_more);
  CHECK(d.state() == "capabilities");
  d.peer(kTlsList).sends("");
  CHECK(d.verdict() == Verdict::greeted);
  CHECK(d.greeting() == kTlsList);
  CHECK(d.fallback_reason().empty());
}

TEST_CASE("sieve upstream: a server that pushes no list is asked for it", "[proto][sieve]") {
  UpstreamDialogue d{"sieve", upstream(TlsMode::starttls)};
  secure(d);
  d.quiet().sends("CAPABILITY\r\nNOOP\r\n");
  CHECK(d.verdict() == Verdict::need_more);
  CHECK(d.state() == "noop");
  SECTION("which answers both") {
    d.peer(kTlsList).sends("");
    CHECK(d.verdict() == Verdict::need_more);
    d.peer("OK (TAG {3}\r\na\r\n) \"Done\"\r\n");
  }
  SECTION("which does not know NOOP") {
    d.peer(kTlsList).peer("NO \"what?\"\r\n");
  }
  SECTION("which was only slow: the second list is swallowed") {
    d.peer(kTlsList).peer("\"IMPLEMENTATION\" \"x\"\r\nOK\r\n");
    CHECK(d.verdict() == Verdict::need_more);
    d.peer("OK\r\n");
  }
  SECTION("all in one segment") {
    d.peer(std::string(kTlsList) + "\"IMPLEMENTATION\" \"x\"\r\nOK\r\nOK\r\n");
  }
  d.sends("");
  CHECK(d.verdict() == Verdict::greeted);
  CHECK(d.unread().empty());
  CHECK(d.greeting() == kTlsList);
}

TEST_CASE("sieve upstream: a list that has begun is waited for, not asked for", "[proto][sieve]") {
  UpstreamDialogue d{"sieve", upstream(TlsMode::starttls)};
  secure(d);
  d.peer(kTlsList.substr(0, 40)).quiet().sends("");
  d.peer(kTlsList.substr(40));
  CHECK(d.verdict() == Verdict::greeted);
  CHECK(d.greeting() == kTlsList);
}

TEST_CASE("sieve upstream: after TLS there is no greeting without a list",
          "[proto][sieve][security]") {
  const auto error_of = [](bool asked, std::string_view bytes) {
    UpstreamDialogue d{"sieve", upstream(TlsMode::starttls)};
    secure(d);
    if (asked) d.quiet().sends("CAPABILITY\r\nNOOP\r\n");
    d.peer(bytes);
    CHECK(d.greeting().empty());
    return d.error().code;
  };
  for (const bool asked : {false, true}) {
    CHECK(error_of(asked, "OK\r\n") == Errc::protocol);
    CHECK(error_of(asked, "NO \"no\"\r\n") == Errc::protocol);
    CHECK(error_of(asked, "\"SIEVE\" \"\"\r\nNO \"no\"\r\n") == Errc::greeting_refused);
    CHECK(error_of(asked, "BYE \"busy\"\r\n") == Errc::greeting_refused);
  }
  CHECK(error_of(true, "\"SIEVE\" \"\"\r\nOK\r\nBYE \"overloaded\"\r\n") == Errc::greeting_refused);
}

TEST_CASE("B6 sieve upstream: bytes after the OK stay unread for the leg to refuse",
          "[proto][sieve][security]") {
  for (const std::string_view injected :
       {"\"SASL\" \"PLAIN\"\r\nOK\r\n", "\"SASL\"", "\xff", "\n"}) {
    UpstreamDialogue d{"sieve", upstream(TlsMode::starttls)};
    ask_for_tls(d);
    d.peer("OK\r\n" + std::string(injected)).sends("");
    CHECK(d.verdict() == Verdict::start_tls);
    CHECK(d.unread() == injected);
    // These bytes do not count as the list that must come inside TLS.
    d.secured().sends("");
    CHECK(d.verdict() == Verdict::need_more);
  }
}

TEST_CASE("B10 sieve upstream: a refusal followed by a fake session does not reach the client",
          "[proto][sieve][security]") {
  constexpr std::string_view kFake = "NO \"later\"\r\nOK \"authenticated\"\r\nOK\r\n";
  UpstreamDialogue required{"sieve", upstream(TlsMode::starttls)};
  ask_for_tls(required);
  required.peer(kFake);
  CHECK(required.error().code == Errc::tls_refused);

  UpstreamDialogue fallback{"sieve", upstream(TlsMode::opportunistic)};
  ask_for_tls(fallback);
  fallback.peer(kFake);
  CHECK(fallback.error().code == Errc::attack);
}

TEST_CASE("B12 sieve upstream: replies before their commands are an attack",
          "[proto][sieve][security]") {
  for (const auto mode : {TlsMode::starttls, TlsMode::opportunistic}) {
    for (const std::string_view early : {"OK\r\n", "O", "\"SASL\" \"PLAIN\"\r\n"}) {
      UpstreamDialogue d{"sieve", upstream(mode)};
      d.peer(std::string(kClearList) + std::string(early));
      CHECK(d.error().code == Errc::attack);
    }
  }
  // A list is no answer to STARTTLS, even if it ends in OK.
  UpstreamDialogue list{"sieve", upstream(TlsMode::starttls)};
  ask_for_tls(list);
  list.peer("\"SASL\" \"PLAIN\"\r\nOK\r\n");
  CHECK(list.error().code == Errc::attack);
}

TEST_CASE("N1 sieve upstream: the session ends if STARTTLS is not offered",
          "[proto][sieve][security]") {
  for (const std::string_view list :
       {kListWithoutTls, std::string_view{"OK\r\n"}, std::string_view{"\"XSTARTTLS\"\r\nOK\r\n"},
        std::string_view{"\"SIEVE\" \"STARTTLS\"\r\nOK \"STARTTLS\"\r\n"},
        std::string_view{"\"SIEVE\" {12}\r\n\r\n\"STARTTLS\"\r\nOK\r\n"}}) {
    UpstreamDialogue d{"sieve", upstream(TlsMode::starttls)};
    d.peer(list).sends("");
    CHECK(d.error().code == Errc::tls_not_offered);
  }
}

TEST_CASE("N2 sieve upstream: only OK is a go-ahead", "[proto][sieve][security]") {
  const auto answered = [](std::string_view answer) {
    UpstreamDialogue d{"sieve", upstream(TlsMode::starttls)};
    ask_for_tls(d);
    d.peer(answer).sends("");
    return d.error().code;
  };
  CHECK(answered("NO\r\n") == Errc::tls_refused);
  CHECK(answered("no (TRYLATER) \"later\"\r\n") == Errc::tls_refused);
  CHECK(answered("BYE \"gone\"\r\n") == Errc::tls_refused);
  for (const auto* line :
       {"OKAY\r\n", "OK,\r\n", "OK(X)\r\n", " OK\r\n", "+OK\r\n", "220 go\r\n", "\r\n", "O\r\n"}) {
    CHECK(answered(line) == Errc::protocol);
  }
}

TEST_CASE("N2 sieve upstream: a go-ahead may carry a code and a text, including literals",
          "[proto][sieve]") {
  for (const auto* line : {"OK\r\n", "ok\r\n", "OK \"go {5}\"\r\n", "OK {4}\r\nNO\r\n\r\n",
                           "OK (TAG {2}\r\nOK) \"x\"\r\n"}) {
    UpstreamDialogue d{"sieve", upstream(TlsMode::starttls)};
    ask_for_tls(d);
    d.peer(std::string(line) + "x").sends("");
    CHECK(d.verdict() == Verdict::start_tls);
    CHECK(d.unread() == "x");
  }
}

TEST_CASE("N4 sieve upstream: a greeting that is not a welcome ends the session",
          "[proto][sieve]") {
  for (const auto mode : {TlsMode::starttls, TlsMode::opportunistic}) {
    for (const auto* line : {"BYE \"too\x1b many\"\r\n", "NO \"too\x1b many\"\r\n"}) {
      UpstreamDialogue d{"sieve", upstream(mode)};
      d.peer(line).sends("");
      CHECK(d.error().code == Errc::greeting_refused);
      CHECK(d.error().reason.ends_with(" \"too many\""));
      CHECK(d.greeting().empty());
    }
  }
}

TEST_CASE("G10 sieve upstream: the keyword is a whole string, in any case and form",
          "[proto][sieve]") {
  for (const auto* line : {"\"STARTTLS\"", "\"starttls\"", "\"START\\TLS\"", "{8}\r\nSTARTTLS",
                           "{8+}\r\nStartTLS", "\"STARTTLS\" \"x\""}) {
    UpstreamDialogue d{"sieve", upstream(TlsMode::starttls)};
    d.peer(std::string(line) + "\r\nOK\r\n").sends("STARTTLS\r\n");
  }
}

TEST_CASE("P3 sieve upstream: a line that is not a reply is an error", "[proto][sieve][security]") {
  for (const auto* line : {"", "220 mx", "* OK", "OKAY", "STARTTLS", "(OK)", "SASL \"PLAIN\""}) {
    CHECK(greeted_with(std::string(line) + "\r\n") == Errc::protocol);
  }
}

TEST_CASE("P5 P6 P7 sieve upstream: bare LF, NUL and stray CR end the session",
          "[proto][sieve][security]") {
  using namespace std::string_view_literals;
  for (const auto bytes : {"OK\n"sv, "\"SIEVE\"\nOK\r\n"sv, "OK \"a\0b\"\r\n"sv, "O\rK\r\n"sv,
                           "OK\r\r\n"sv, "OK {1}\nx\r\n"sv}) {
    CHECK(greeted_with(bytes) == Errc::protocol);
  }
}

TEST_CASE("P12 sieve upstream: the bytes of a literal are not read as lines", "[proto][sieve]") {
  UpstreamDialogue d{"sieve", upstream(TlsMode::starttls)};
  d.peer("\"IMPLEMENTATION\" {17}\r\nx\"\r\nOK\r\nBYE\r\n\n\r\\ \r\n").sends("");
  d.peer("{5+}\r\nSIEVE {4}\r\n\r\n\r\n\r\n{8}\r\nSTARTTLS\r\nOK {0}\r\n\r\n")
      .sends("STARTTLS\r\n");
  d.peer("OK\r\n");
  CHECK(d.verdict() == Verdict::start_tls);
}

TEST_CASE("P12 sieve upstream: a brace or a quote in a quoted string is text", "[proto][sieve]") {
  UpstreamDialogue d{"sieve", upstream(TlsMode::starttls)};
  d.peer("\"IMPLEMENTATION\" \"a \\\" {3}\"\r\n\"X\" \"{9\\\\\"\r\n\"STARTTLS\"\r\nOK\r\n")
      .sends("STARTTLS\r\n");
}

TEST_CASE("P12 sieve upstream: malformed strings end the session", "[proto][sieve][security]") {
  for (const auto* line :
       {"\"IMPLEMENTATION", "\"a\\\"", "\"a\" \"b\\", "\"a\" {}", "\"a\" {+}", "\"a\" {-1}",
        "\"a\" {5 }", "\"a\" {5}x", "\"a\" {5++}", "\"a\" {x}", "\"a\" {5} {5}", "OK \"",
        "\"a\" {18446744073709551616}", "\"a\" {99999999999999999999}"}) {
    CHECK(greeted_with(std::string(line) + "\r\n") == Errc::protocol);
  }
}

TEST_CASE("P8 P12 sieve upstream: a line is held to 8 KiB, literals included, and a reply to 64",
          "[proto][sieve][security]") {
  const auto line = [](std::size_t data) { return "\"X\" {" + std::to_string(data) + "}\r\n"; };
  for (const auto data :
       {std::size_t{8192}, std::size_t{65536}, std::size_t{4294967296}, ~std::size_t{0}}) {
    CHECK(greeted_with(line(data)) == Errc::protocol);  // before these bytes come
  }
  const auto room = kMaxLine - line(8000).size() - 2;
  UpstreamDialogue longest{"sieve", upstream(TlsMode::starttls)};
  longest.peer(line(room) + std::string(room, '\n') + "\r\n");
  CHECK(!longest.failed());
  CHECK(greeted_with(line(room) + std::string(room, 'x') + "xxx") == Errc::protocol);
  CHECK(greeted_with("\"" + std::string(kMaxLine, 'x')) == Errc::protocol);

  UpstreamDialogue many{"sieve", upstream(TlsMode::starttls)};
  std::string list;
  for (int i = 0; i < 1000; ++i) list += "\"X-" + std::to_string(i) + "\" \"y\"\r\n";
  many.peer(list + "\"STARTTLS\"\r\nOK\r\n").sends("STARTTLS\r\n");

  std::string endless;
  while (endless.size() <= kMaxReply) endless += "\"X\" \"" + std::string(4000, 'x') + "\"\r\n";
  CHECK(greeted_with(endless) == Errc::protocol);
}

TEST_CASE("T24 T25 sieve upstream: a list received in the clear leaves no trace",
          "[proto][sieve][security]") {
  UpstreamDialogue d{"sieve", upstream(TlsMode::starttls)};
  d.peer("\"SIEVE\" \"\x1b[31mevil\"\r\n\"SASL\" \"CRAM-MD5\"\r\n\"STARTTLS\"\r\nOK \"evil\"\r\n");
  d.peer("OK \"evil\"\r\n").secured().peer(kTlsList);
  CHECK(d.verdict() == Verdict::greeted);
  CHECK(d.greeting() == kTlsList);
}

// ---------------------------------------------------------------- upstream, the other modes

TEST_CASE("sieve upstream: opportunistic uses STARTTLS where it is offered", "[proto][sieve]") {
  UpstreamDialogue d{"sieve", upstream(TlsMode::opportunistic)};
  secure(d);
  d.peer(kTlsList);
  CHECK(d.verdict() == Verdict::greeted);
  CHECK(d.greeting() == kTlsList);
  CHECK(d.fallback_reason().empty());
}

TEST_CASE("sieve upstream: opportunistic stays in the clear if TLS is refused or not offered",
          "[proto][sieve]") {
  UpstreamDialogue no_offer{"sieve", upstream(TlsMode::opportunistic)};
  no_offer.peer(kListWithoutTls).sends("");
  CHECK(no_offer.verdict() == Verdict::greeted);
  CHECK(no_offer.greeting() == kListWithoutTls);
  CHECK(no_offer.fallback_reason() == "server does not offer STARTTLS");

  UpstreamDialogue refused{"sieve", upstream(TlsMode::opportunistic)};
  ask_for_tls(refused);
  refused.peer("NO \"no\"\r\n").sends("");
  CHECK(refused.verdict() == Verdict::greeted);
  CHECK(refused.greeting() == kClearList);
  CHECK(refused.fallback_reason() == "server refused STARTTLS");

  UpstreamDialogue closed{"sieve", upstream(TlsMode::opportunistic)};
  ask_for_tls(closed);
  closed.peer("BYE\r\n").sends("");
  CHECK(closed.verdict() == Verdict::greeted);
  CHECK(closed.fallback_reason() == "server refused STARTTLS");
}

TEST_CASE("sieve upstream: a leg that does not upgrade passes the list unchanged",
          "[proto][sieve]") {
  for (const auto mode : {TlsMode::none, TlsMode::implicit}) {
    UpstreamDialogue d{"sieve", upstream(mode)};
    d.peer("\"A\xff\" {3}\r\n\r\nx\n\"STARTTLS\"\r\nOK\nOK").sends("");
    CHECK(d.verdict() == Verdict::greeted);
    CHECK(d.greeting() == "\"A\xff\" {3}\r\n\r\nx\n\"STARTTLS\"\r\nOK\n");
    CHECK(d.unread() == "OK");

    UpstreamDialogue refusal{"sieve", upstream(mode)};
    refusal.peer("BYE (TRYLATER) {4}\r\n\xff\r\n!\r\n").sends("");
    CHECK(refusal.error().code == Errc::greeting_refused);
    CHECK(refusal.greeting() == "BYE (TRYLATER) {4}\r\n\xff\r\n!\r\n");
  }
}

// ---------------------------------------------------------------- downstream, passing

TEST_CASE("sieve downstream: commands and replies pass until the client commits",
          "[proto][sieve]") {
  for (const auto mode : {TlsMode::none, TlsMode::implicit, TlsMode::opportunistic}) {
    SieveDialogue d{mode};
    CHECK(d.state() == "commands");
    d.client("NOOP \"x\"\r\nnoop\r\n").to_server("NOOP \"x\"\r\nnoop\r\n");
    d.server("OK (TAG {1}\r\nx) \"Done\"\r\n").to_client("OK (TAG {1}\r\nx) \"Done\"\r\n");
    d.server("OK\r\n").to_client("OK\r\n");
    d.client("LOGOUT\r\n").to_server("LOGOUT\r\n");
    d.server("OK \"bye\"\r\n").to_client("OK \"bye\"\r\n");
    d.client("AUTHENTICATE \"PLAIN\" {4+}\r\nsecr").to_server("");
    CHECK(d.client_verdict() == Verdict::relay);
    CHECK(d.server_verdict() == Verdict::relay);
    CHECK(d.unread_client() == "AUTHENTICATE \"PLAIN\" {4+}\r\nsecr");
  }
}

TEST_CASE("sieve downstream: every command outside the table commits", "[proto][sieve]") {
  for (const auto* command :
       {"AUTHENTICATE \"PLAIN\"\r\n", "LISTSCRIPTS\r\n", "PUTSCRIPT \"a\" {5+}\r\n", "HELP\r\n",
        "LANG x\r\n", "CAPABILITYX\r\n", "XNOOP\r\n", "\r\n", "UNAUTHENTICATE\r\n", "NOOP {8+}\r\n",
        "CAPABILITY {3}\r\n", "\"NOOP\"\r\n"}) {
    check_commits(TlsMode::none, command);
    check_commits(TlsMode::implicit, command);
    check_commits(TlsMode::opportunistic, command);
  }
  check_commits(TlsMode::none, "listscripts\n");
}

TEST_CASE(
    "G2 M5 sieve downstream: pipelined replies keep their order, and the relay waits for them",
    "[proto][sieve]") {
  SieveDialogue d{TlsMode::none};
  d.client("CAPABILITY\r\nSTARTTLS\r\nNOOP\r\nSTARTTLS\r\nLISTSCRIPTS\r\n")
      .to_server("CAPABILITY\r\nNOOP\r\n")
      .to_client("");
  CHECK(d.client_verdict() == Verdict::relay);
  CHECK(d.state() == "committed");
  d.server("\"SIEVE\" \"\"\r\n").to_client("\"SIEVE\" \"\"\r\n");
  d.server("OK\r\n").to_client("OK\r\n" + std::string(kUnavailable));
  CHECK(d.server_verdict() == Verdict::need_more);
  d.server("OK \"noop\"\r\n\"script\" ACTIVE\r\n")
      .to_client("OK \"noop\"\r\n" + std::string(kUnavailable));
  CHECK(d.server_verdict() == Verdict::relay);
  CHECK(d.unread_server() == "\"script\" ACTIVE\r\n");
}

TEST_CASE("G3 A14 sieve downstream: the proxy refuses a STARTTLS that is not possible",
          "[proto][sieve][security]") {
  for (const auto* command : {"STARTTLS\r\n", "starttls\r\n", " STARTTLS \r\n", "STARTTLS\"x\"\r\n",
                              "STARTTLS x\r\n", "STARTTLS\n"}) {
    SieveDialogue{TlsMode::none}.client(command).to_server("").to_client(kUnavailable);
    SieveDialogue{TlsMode::implicit}.client(command).to_server("").to_client(kActive);
  }
  for (const auto mode : {TlsMode::none, TlsMode::implicit, TlsMode::opportunistic}) {
    SieveDialogue d{mode};
    d.client("STARTTLS {3+}\r\n").to_server("").to_client("");
    CHECK(d.error().code == Errc::client_protocol);
  }
}

TEST_CASE(
    "P6 P7 P8 sieve downstream: a malformed command is the client's error, and no password is "
    "passed on",
    "[proto][sieve][security]") {
  using namespace std::string_view_literals;
  for (const auto mode : {TlsMode::none, TlsMode::starttls, TlsMode::opportunistic}) {
    for (const auto& command :
         {std::string("NOOP\0\r\n"sv), std::string("STAR\rTTLS\r\n"), std::string("NOOP\r\r\n"),
          "NOOP \"" + std::string(kMaxLine, 'x')}) {
      SieveDialogue d{mode};
      d.client(command).to_server("");
      CHECK(d.error().code == Errc::client_protocol);
      CHECK(d.error().evidence.empty());
      CHECK(d.error().reason.find("xxx") == std::string::npos);
    }
  }
}

TEST_CASE("P5 sieve downstream: a bare LF also ends a line with literals", "[proto][sieve]") {
  SieveDialogue d{TlsMode::starttls};
  d.client("NOOP {4+}\n\nx\r\n\n").to_server("").to_client(kNotNow);
  d.client("NOOP\n").to_server("").to_client("OK \"NOOP completed\"\r\n");
}

TEST_CASE(
    "sieve downstream: D9: if EXTERNAL is refused, a long login commits only with another "
    "mechanism",
    "[proto][sieve][security]") {
  auto role = downstream(TlsMode::none);
  role.client_certificate = true;
  SieveDialogue plain{role};
  plain.client("AUTHENTICATE \"PLAIN\" \"" + std::string(kMaxLine, 'x')).to_server("");
  CHECK(plain.client_verdict() == Verdict::relay);
  for (const std::string head : {"AUTHENTICATE \"EXTERNAL\" \"", "AUTHENTICATE \"", "XCLIENT \""}) {
    SieveDialogue d{role};
    d.client(head + std::string(kMaxLine, 'x')).to_server("").to_client("");
    CHECK(d.error().code == Errc::client_protocol);
  }
}

TEST_CASE("P3 P12 sieve downstream: a line that is not a reply ends the session",
          "[proto][sieve][security]") {
  for (const auto* reply : {"250 ok\r\n", "OKAY\r\n", "\r\n", "OK \"\r\n", "OK {9000}\r\n",
                            "\"SASL\" {x}\r\n", "OK\n"}) {
    SieveDialogue d{TlsMode::none};
    d.client("NOOP\r\n").to_server("NOOP\r\n");
    d.server(reply).to_client("");
    CHECK(d.error().code == Errc::protocol);
  }
}

TEST_CASE("P8 sieve downstream: a reply is held to 64 KiB", "[proto][sieve][security]") {
  SieveDialogue d{TlsMode::none};
  const std::string line = "\"X\" \"" + std::string(8000, 'x') + "\"\r\n";
  for (std::size_t size = 0; size <= kMaxReply; size += line.size()) d.server(line);
  CHECK(d.error().code == Errc::protocol);
}

TEST_CASE("P20 sieve downstream: twenty errors end the session", "[proto][sieve][security]") {
  SieveDialogue ours{TlsMode::none};
  for (int i = 0; i < 19; ++i) ours.client("STARTTLS\r\n").to_client(kUnavailable);
  ours.client("STARTTLS\r\n").to_client("");
  CHECK(ours.error().code == Errc::too_many_errors);

  SieveDialogue theirs{TlsMode::none};
  for (int i = 0; i < 19; ++i) {
    theirs.client("NOOP x\r\n").to_server("NOOP x\r\n");
    theirs.server("NO\r\n").to_client("NO\r\n");
  }
  theirs.client("NOOP x\r\n").server("NO\r\n");
  CHECK(theirs.error().code == Errc::too_many_errors);
}

TEST_CASE("sieve downstream: commands without a reply are bounded", "[proto][sieve][security]") {
  SieveDialogue d{TlsMode::none};
  std::string commands;
  for (int i = 0; i < 1000; ++i) commands += "NOOP\n";
  d.client(commands).to_server(commands);
  CHECK(!d.failed());
  d.client("NOOP\n").to_server("");
  CHECK(d.error().code == Errc::client_protocol);
}

// ---------------------------------------------------------------- capability lists

TEST_CASE("K1 G15 sieve list: STARTTLS is removed from greeting and reply if it is not possible",
          "[proto][sieve][caps]") {
  constexpr std::string_view kOffer = "\"A\"\r\n\"starttls\"\r\n{8}\r\nSTARTTLS\r\n\"B\"\r\nOK\r\n";
  constexpr std::string_view kWithout = "\"A\"\r\n\"B\"\r\nOK\r\n";
  CHECK(list_for_client(kOffer, TlsMode::none) == kWithout);
  CHECK(list_for_client(kOffer, TlsMode::implicit) == kWithout);
  CHECK(list_for_client(kOffer, TlsMode::opportunistic) ==
        "\"A\"\r\n\"B\"\r\n\"STARTTLS\"\r\nOK\r\n");
  SieveDialogue greeted{downstream(TlsMode::none), kOffer, kWithout};
  CHECK(!greeted.failed());
}

TEST_CASE("K2 sieve list: refusals pass unchanged", "[proto][sieve][caps]") {
  for (const auto* reply : {"NO \"STARTTLS\"\r\n", "BYE \"STARTTLS\"\r\n", "OK \"STARTTLS\"\r\n"}) {
    CHECK(list_for_client(reply, TlsMode::opportunistic) == reply);
  }
}

TEST_CASE("sieve list: everything else passes unchanged", "[proto][sieve][caps]") {
  constexpr std::string_view kList =
      "\"IMPLEMENTATION\" {14}\r\n\r\n\"STARTTLS\"\r\n\r\n\"XSTARTTLS\"\r\n\"SIEVE\" "
      "\"STARTTLS X-PLUS\"\r\n\"SASL\" \"PLAIN  LOGIN\"\r\n\"SASL\"\r\n\"X\" \"a\\\"b\xff\" "
      "junk\r\nOK (WARNINGS) {2}\r\nhi\r\n";
  CHECK(list_for_client(kList) == kList);
}

TEST_CASE("K5 K7 sieve list: SASL mechanisms that cannot work through a proxy are removed",
          "[proto][sieve][caps][security]") {
  CHECK(list_for_client("\"SASL\" \"PLAIN SCRAM-SHA-1-PLUS EXTERNAL x-plus\"\r\nOK\r\n") ==
        "\"SASL\" \"PLAIN EXTERNAL\"\r\nOK\r\n");
  CHECK(list_for_client("\"SASL\" \"PLAIN EXTERNAL\"\r\nOK\r\n", TlsMode::none, true) ==
        "\"SASL\" \"PLAIN\"\r\nOK\r\n");
  CHECK(list_for_client("{4}\r\nsasl {14}\r\nSCRAM-1-PLUS A\r\nOK\r\n") ==
        "{4}\r\nsasl \"A\"\r\nOK\r\n");
  CHECK(list_for_client("\"SASL\" \"X-PLUS\"\r\nOK\r\n") == "\"SASL\" \"\"\r\nOK\r\n");
  CHECK(list_for_client("\"SASL\" \"A\\\\ X-PLUS\"\r\nOK\r\n") == "\"SASL\" \"A\\\\\"\r\nOK\r\n");
}

TEST_CASE("K7 sieve downstream: EXTERNAL is refused if the proxy's certificate would log in",
          "[proto][sieve][security]") {
  auto role = downstream(TlsMode::none);
  role.client_certificate = true;
  for (const auto* command :
       {"AUTHENTICATE \"EXTERNAL\"\r\n", "authenticate  \"external\" \"\"\r\n",
        "AUTHENTICATE\"EXTERNAL\"\r\n", "AUTHENTICATE \"EXTERN\\AL\"\r\n",
        "AUTHENTICATE EXTERNAL\r\n", "AUTHENTICATE {8+}\r\nEXTERNAL\r\n",
        "AUTHENTICATE \"EXTERNAL\" {10+}\r\nSTARTTLS\r\n\r\n",
        "AUTHENTICATE {5+}\r\nPLAIN {3+}\r\nabc\r\n"}) {
    SieveDialogue d{role};
    d.client(command).to_server("").to_client("NO \"Mechanism not available\"\r\n");
    d.client("NOOP\r\n").to_server("NOOP\r\n");
  }
  for (const auto* command : {"AUTHENTICATE \"PLAIN\" \"EXTERNAL\"\r\n",
                              "AUTHENTICATE \"PLAIN\" {9999+}\r\n", "AUTHENTICATEX {5+}\r\n"}) {
    SieveDialogue d{role};
    d.client(command).to_server("").to_client("");
    CHECK(d.client_verdict() == Verdict::relay);
  }
  check_commits(TlsMode::none, "AUTHENTICATE \"EXTERNAL\"\r\n");
}

// ---------------------------------------------------------------- downstream, starttls

TEST_CASE("sieve downstream: the role conducts the client's STARTTLS, and pushes the list after it",
          "[proto][sieve]") {
  for (const auto mode : {TlsMode::starttls, TlsMode::opportunistic}) {
    SieveDialogue d{mode};
    d.client("StartTLS \r\n").to_server("").to_client("");
    CHECK(d.client_verdict() == Verdict::start_tls);
    CHECK(d.state() == "tls");
    d.secured().to_client(kTlsList);
    CHECK(d.client_verdict() == Verdict::need_more);
    d.client("CAPABILITY\r\n").to_server("CAPABILITY\r\n");
    d.server(kClearList);
    CHECK(d.take_to_client().find("STARTTLS") == std::string::npos);
    d.client("STARTTLS\r\n").to_server("").to_client(kActive);
    d.client("LISTSCRIPTS\r\n").to_server("");
    CHECK(d.client_verdict() == Verdict::relay);
    CHECK(d.server_verdict() == Verdict::relay);
  }
}

TEST_CASE(
    "A4 A9 sieve downstream: bytes that wait after STARTTLS are not consumed, and never answered",
    "[proto][sieve][security]") {
  for (const auto mode : {TlsMode::starttls, TlsMode::opportunistic}) {
    for (const std::string_view injected : {"NOOP\r\n", "N", "\x16\x03\x01", "\n"}) {
      SieveDialogue d{mode};
      d.client("STARTTLS\r\n" + std::string(injected)).to_server("").to_client("");
      CHECK(d.client_verdict() == Verdict::start_tls);
      CHECK(d.unread_client() == injected);
      d.secured().to_server("").to_client(kTlsList);
    }
  }
}

TEST_CASE("A4 sieve downstream: go-ahead and refusal are one line each", "[proto][sieve]") {
  const auto role = find_protocol("sieve")->downstream(downstream(TlsMode::starttls));
  CHECK(role->go_ahead() == "OK \"Begin TLS negotiation now\"\r\n");
  CHECK(role->injection_reply() == "NO \"STARTTLS must be the last command\"\r\n");
}

TEST_CASE("A10 sieve downstream: STARTTLS with an argument is refused",
          "[proto][sieve][security]") {
  for (const auto mode : {TlsMode::starttls, TlsMode::opportunistic}) {
    for (const auto* command : {"STARTTLS x\r\n", "STARTTLS \"\"\r\n", "STARTTLS\"\"\r\n"}) {
      SieveDialogue d{mode};
      d.client(command).to_server("").to_client("NO \"STARTTLS takes no argument\"\r\n");
      CHECK(d.client_verdict() == Verdict::need_more);
    }
  }
}

TEST_CASE("A11 sieve downstream: a STARTTLS after other commands waits for their replies",
          "[proto][sieve][security]") {
  SieveDialogue d{TlsMode::opportunistic};
  d.client("CAPABILITY\r\nSTARTTLS x\r\nNOOP\r\nSTARTTLS\r\nNOOP\r\n")
      .to_server("CAPABILITY\r\nNOOP\r\n")
      .to_client("");
  CHECK(d.client_verdict() == Verdict::need_more);
  CHECK(d.unread_client() == "NOOP\r\n");
  d.server(kTlsList).to_client(std::string(kOfferedList) + "NO \"STARTTLS takes no argument\"\r\n");
  CHECK(d.server_verdict() == Verdict::need_more);
  d.client("LISTSCRIPTS\r\n").to_server("").to_client("");
  d.server("OK\r\nBYE\r\n").to_client("OK\r\n");
  CHECK(d.server_verdict() == Verdict::start_tls);
  CHECK(d.unread_server() == "BYE\r\n");
}

TEST_CASE("S4 K9 sieve downstream: before TLS the proxy answers as a server",
          "[proto][sieve][security]") {
  SieveDialogue d{TlsMode::starttls};
  d.client("CAPABILITY\r\n").to_client(kOwnList);
  d.client("noop\r\n").to_client("OK \"NOOP completed\"\r\n");
  d.client("NOOP \"a\\\"b\"\r\n").to_client("OK (TAG {3}\r\na\"b) \"Done\"\r\n");
  d.client("NOOP x\r\n").to_client("NO \"NOOP takes one string\"\r\n");
  d.client("NOOP \"a\" \"b\"\r\n").to_client("NO \"NOOP takes one string\"\r\n");
  for (const auto* command : {"AUTHENTICATE \"PLAIN\" \"dGVzdA==\"\r\n", "LISTSCRIPTS\r\n",
                              "HELP\r\n", "\r\n", "XCLIENT a\r\n", "UNAUTHENTICATE\r\n"}) {
    d.client(command).to_client(kNotNow);
  }
  d.to_server("");
  d.client("LOGOUT\r\nNOOP\r\n").to_server("").to_client("OK \"Logout completed\"\r\n");
  CHECK(d.client_verdict() == Verdict::finish);
}

TEST_CASE("N14 P10 P12 sieve downstream: a literal before TLS is refused and swallowed",
          "[proto][sieve][security]") {
  SieveDialogue d{TlsMode::starttls};
  d.client("AUTHENTICATE \"PLAIN\" {10+}\r\nSTARTTLS\r\n\r\n").to_server("").to_client(kNotNow);
  CHECK(d.client_verdict() == Verdict::need_more);
  d.client("NOOP {8+}\r\nLOGOUT\r\n\r\n").to_client(kNotNow);
  d.client("PUTSCRIPT {1+}\r\na {0+}\r\n\r\n").to_server("").to_client(kNotNow);
  d.client("STARTTLS\r\n");
  CHECK(d.client_verdict() == Verdict::start_tls);

  for (const auto* command : {"PUTSCRIPT \"a\" {8200+}\r\n", "X {4294967296+}\r\n",
                              "X {18446744073709551616+}\r\n", "X {5}\r\n", "X {-1+}\r\n",
                              "X {}\r\n", "X {5+}x\r\n", "X \"\r\n", "STARTTLS {3+}\r\nabc\r\n"}) {
    SieveDialogue refused{TlsMode::starttls};
    refused.client(command).to_server("").to_client("");
    CHECK(refused.error().code == Errc::client_protocol);
    CHECK(refused.error().evidence.empty());
  }
}

TEST_CASE("P20 sieve downstream: twenty refusals before TLS end the session",
          "[proto][sieve][security]") {
  SieveDialogue d{TlsMode::starttls};
  for (int i = 0; i < 19; ++i) d.client("LISTSCRIPTS\r\n").to_client(kNotNow);
  d.client("NOOP\r\n").to_client("OK \"NOOP completed\"\r\n");
  d.client("LISTSCRIPTS\r\n").to_client("");
  CHECK(d.error().code == Errc::too_many_errors);
}

// ---------------------------------------------------------------- failure

TEST_CASE("sieve failure: BYE asks to try later, and the quotes stay balanced",
          "[proto][sieve][security]") {
  const auto& row = *find_protocol("sieve");
  for (const auto code : {Errc::timeout, Errc::attack, Errc::certificate, Errc::limit}) {
    CHECK(failure_reply(row, {code, R"(a "b" \)"}, "h\"x") == "BYE (TRYLATER) \"hx a b \"\r\n");
  }
  CHECK(failure_reply(row, {Errc::client_protocol, "why"}, "h") == "NO \"h why\"\r\n");
  const auto longest = failure_reply(row, {Errc::attack, std::string(600, '"') + 'x'}, "h");
  CHECK(longest.ends_with("\"\r\n"));
}
