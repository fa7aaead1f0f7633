#include "lib/proto/login/imap_client_login.h"

#include <string>
#include <string_view>

#include "tests/proto/login/client_login.h"
#include "tests/support/catch.h"

using namespace starttls;
using namespace starttls::proto;
using namespace starttls::test;
using imap::LoginCommand;
using imap::read_login;

namespace {

constexpr std::string_view kAsk = "+ Ready for literal data\r\n";

struct Mailbox : DownstreamDialogue {
  explicit Mailbox(Accounts accounts = no_secret, const RoleSettings& settings = login_settings(),
                   std::string_view greeting = "* OK [CAPABILITY IMAP4rev1 AUTH=PLAIN] hi\r\n")
      : DownstreamDialogue("imap", settings, greeting, std::move(accounts)) {
    static_cast<void>(take_to_client());
  }
};

/// Returns the state of a LOGIN with these arguments.
LoginCommand::State state_of(std::string_view arguments) {
  const auto command = read_login(arguments, kLoginRules);
  REQUIRE(command.state);
  return *command.state;
}

}  // namespace

TEST_CASE("LP12 imap login command: strings of all kinds are read", "[proto][login]") {
  using namespace std::string_view_literals;
  for (const auto& [arguments, name, password] :
       {std::tuple{"ann sesame\r\n"sv, "ann"sv, "sesame"sv},
        {"ann@b.c se]same\r\n", "ann@b.c", "se]same"},
        {"\"ann\" \"a b\"\n", "ann", "a b"},
        {"\"a\\\"\\\\\" \"\"\r\n", "a\"\\", ""},
        {"{3}\r\nann {2}\r\n\r\n\r\n", "ann", "\r\n"},
        {"{3+}\r\nann sesame\r\n", "ann", "sesame"},
        {"ann {0+}\r\n\r\n", "ann", ""},
        {"\"ann\" \"{5}\"\r\n", "ann", "{5}"},
        {"ann {3+}\r\n{5}\r\n", "ann", "{5}"},
        {"\xe9 \"\xe9\"\r\n", "\xe9", "\xe9"},
        {"ann sesame \r\n", "ann", "sesame"}}) {
    CAPTURE(arguments);
    const auto command = read_login(arguments, kLoginRules);
    REQUIRE(command.state);
    CHECK(*command.state == LoginCommand::State::whole);
    CHECK(command.size == arguments.size());
    CHECK(command.name == name);
    CHECK(command.password.reveal() == password);
  }
}

TEST_CASE("LP12 imap login command: other arguments are malformed", "[proto][login]") {
  for (const auto* arguments :
       {"\r\n", "ann\r\n", "ann  sesame\r\n", "ann sesame x\r\n", "ann \"a\r\n", "ann \"a\"b\r\n",
        "(ann) b\r\n", "ann {x}\r\n", "ann a{5}\r\n", "ann {1+}\r\nab\r\n", "ann \"a\\\r\n",
        "a\"b c\r\n", "ann {4294967296}\r\n", "ann {4294967296+}\r\n",
        "ann {99999999999999999999}\r\n", " ann b\r\n", "ann a\tb\r\n"}) {
    CAPTURE(arguments);
    CHECK(state_of(arguments) == LoginCommand::State::malformed);
  }
}

TEST_CASE("LP12 imap client login: each literal that waits is asked for once", "[proto][login]") {
  Mailbox d;
  d.client("a LOGIN {3}\r\n").to_client(kAsk);
  d.client("ann {6}\r\n").to_client(kAsk);
  d.client("sesame\r\n");
  REQUIRE(d.requests().size() == 1);
  CHECK(d.requests().front().name == "ann");
  CHECK(d.requests().front().password.reveal() == "sesame");
  d.to_server("");
}

TEST_CASE("LP12 imap client login: a literal is asked for only after all earlier replies",
          "[proto][login]") {
  Mailbox d;
  d.client("a NOOP\r\nb LOGIN ann {6}\r\n").to_server("a NOOP\r\n").to_client("");
  d.server("a OK done\r\n").to_client("a OK done\r\n" + std::string(kAsk));
  d.client("sesame\r\n");
  CHECK(d.requests().size() == 1);
}

TEST_CASE("imap client login: a challenge is sent only after all earlier replies",
          "[proto][login]") {
  Mailbox d;
  d.client("a NOOP\r\nb AUTHENTICATE PLAIN\r\n").to_server("a NOOP\r\n").to_client("");
  d.server("a OK done\r\n").to_client("a OK done\r\n+ \r\n");
  d.client(plain("ann", "sesame") + "\r\n");
  CHECK(d.requests().size() == 1);
}

TEST_CASE("LP12 imap client login: a literal of 4 GiB is refused without being asked for",
          "[proto][login][security]") {
  Mailbox d;
  d.client("a LOGIN ann {4294967296}\r\n").to_server("").to_client("a BAD Invalid LOGIN\r\n");
  d.client("b NOOP\r\n").to_server("b NOOP\r\n");
  Mailbox waits_not;
  waits_not.client("a LOGIN ann {4294967296+}\r\n").to_server("");
  CHECK(waits_not.error().code == Errc::client_protocol);
}

TEST_CASE("LP12 imap client login: literals of refused logins are no commands",
          "[proto][login][security]") {
  Mailbox d;
  d.client("a LOGIN (ann) {10+}\r\nb LOGOUT\r\n x\r\n")
      .to_server("")
      .to_client("a BAD Invalid LOGIN\r\n");
  d.client("c NOOP\r\n").to_server("c NOOP\r\n");
}

TEST_CASE("LP12 imap client login: a literal does not commit", "[proto][login][security]") {
  Mailbox d;
  d.client("a LOGIN {3+}\r\nann {6+}\r\nsesame\r\n").to_server("");
  CHECK(d.client_verdict() == Verdict::need_more);
  static_cast<void>(d.take_to_client());
  d.client("b SELECT {5}\r\n").to_server("").to_client("b NO Log in first\r\n");
  CHECK(d.client_verdict() == Verdict::need_more);
}

TEST_CASE("imap client login: other mechanisms and malformed commands are refused",
          "[proto][login]") {
  Mailbox d;
  d.client("a AUTHENTICATE SCRAM-SHA-256-PLUS x\r\n").to_client("a NO Mechanism not available\r\n");
  d.client("a AUTHENTICATE XOAUTH2\r\n").to_client("a NO Mechanism not available\r\n");
  d.client("a AUTHENTICATE \"PLAIN\"\r\n").to_client("a BAD Invalid AUTHENTICATE\r\n");
  d.client("a AUTHENTICATE {5+}\r\nPLAIN\r\n").to_client("a BAD Invalid AUTHENTICATE\r\n");
  d.client("a AUTHENTICATE\r\n").to_client("a BAD Invalid AUTHENTICATE\r\n");
  d.client("a AUTHENTICATE PLAIN a b\r\n").to_client("a BAD Invalid AUTHENTICATE\r\n");
  d.client("a AUTHENTICATE PLAIN !\r\n").to_client("a BAD Invalid authentication exchange\r\n");
  d.client("a AUTHENTICATE PLAIN\r\n").to_client("+ \r\n");
  d.client("b NOOP {3+}\r\n").to_client("a BAD Invalid authentication exchange\r\n");
  d.client("c NOOP\r\n").to_server("c NOOP\r\n");
}

TEST_CASE("imap client login: PREAUTH is an attack", "[proto][login][security]") {
  for (const auto mode : {TlsMode::none, TlsMode::implicit, TlsMode::starttls}) {
    Mailbox d{one_account, login_settings(mode), "* PREAUTH hi\r\n"};
    CHECK(d.error().code == Errc::attack);
    CHECK(d.error().attack == Attack::preauth);
  }
}

TEST_CASE("imap client login: each login at the server has tags of its own",
          "[proto][login][security]") {
  Mailbox d{[](const LoginRequest& request) -> Result<Credentials> {
    return Credentials{.user = "u", .secret = Secret(request.refused ? "new" : "old")};
  }};
  d.client("a LOGIN ann sesame\r\n").to_server("R4nd-1-1 AUTHENTICATE PLAIN\r\n");
  d.server("+ \r\n").to_server(plain("u", "old") + "\r\n");
  d.server("R4nd-1-1 NO bad\r\n").to_server("R4nd-2-1 AUTHENTICATE PLAIN\r\n").to_client("");
  // A reply to the first login is none to the second.
  d.server("R4nd-1-1 OK no\r\n");
  CHECK(d.failed());
}

TEST_CASE("imap client login: the server's words before its success pass, in the client's order",
          "[proto][login]") {
  Mailbox d{one_account};
  d.client("a LOGIN scanner client-pw\r\n").to_server("R4nd-1-1 AUTHENTICATE PLAIN\r\n");
  d.server("* OK [ALERT] maintenance\r\n+\r\n");
  d.server("R4nd-1-1 OK Logged in\r\n* 3 EXISTS\r\n")
      .to_client("* OK [ALERT] maintenance\r\na OK Logged in\r\n");
  CHECK(d.unread_server() == "* 3 EXISTS\r\n");
}

TEST_CASE("imap client login: after the client's TLS the greeting's list is remembered",
          "[proto][login]") {
  Mailbox d{one_account, login_settings(TlsMode::starttls)};
  d.client("s STARTTLS\r\n").secured();
  static_cast<void>(d.take_to_client());
  d.client("a LOGIN scanner client-pw\r\n").to_server("R4nd-1-1 AUTHENTICATE PLAIN\r\n");
}
