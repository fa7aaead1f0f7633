#include <string>
#include <string_view>

#include "tests/proto/login/client_login.h"
#include "tests/support/catch.h"

using namespace starttls;
using namespace starttls::proto;
using namespace starttls::test;

namespace {

constexpr std::string_view kEhloFirst = "503 5.5.1 Send EHLO first\r\n";

/// A client of submission that has said EHLO.
struct Submission : DownstreamDialogue {
  explicit Submission(Accounts accounts = one_account,
                      const RoleSettings& settings = login_settings())
      : DownstreamDialogue("smtp", settings, kGreeting, std::move(accounts)) {
    client("EHLO c\r\n").to_server("EHLO c\r\n");
    server("250-mx\r\n250 AUTH PLAIN\r\n").to_client("250-mx\r\n250 AUTH PLAIN LOGIN\r\n");
  }
};

const std::string kLogin = "AUTH PLAIN " + plain(kName, kPassword) + "\r\n";
const std::string kAtServer = "AUTH PLAIN " + plain(kUser, kSecret) + "\r\n";

}  // namespace

TEST_CASE("smtp client login: AUTH needs an EHLO before it", "[proto][login]") {
  DownstreamDialogue d{"smtp", login_settings(), DownstreamDialogue::kGreeting, one_account};
  d.client(kLogin).to_server("").to_client(kEhloFirst);
  d.client("HELO c\r\n").to_server("HELO c\r\n");
  d.server("250 mx\r\n").to_client("250 mx\r\n");
  d.client(kLogin).to_server("").to_client(kEhloFirst);
  d.client("EHLO c\r\n").to_server("EHLO c\r\n");
  d.server("250-mx\r\n250 AUTH PLAIN\r\n");
  static_cast<void>(d.take_to_client());
  d.client(kLogin).to_server(kAtServer);
}

TEST_CASE("smtp client login: AUTH needs a new EHLO after the client's TLS", "[proto][login]") {
  Submission d{one_account, login_settings(TlsMode::implicit)};
  DownstreamDialogue clear{"smtp", login_settings(TlsMode::opportunistic),
                           DownstreamDialogue::kGreeting, one_account};
  clear.client("EHLO c\r\n").to_server("EHLO c\r\n");
  clear.server("250 mx\r\n");
  clear.client("STARTTLS\r\n").secured();
  static_cast<void>(clear.take_to_client());
  clear.client(kLogin).to_server("").to_client(kEhloFirst);
}

TEST_CASE("smtp client login: malformed and hidden logins are refused and counted",
          "[proto][login]") {
  Submission d;
  const std::string malformed = "501 5.5.2 Invalid authentication exchange\r\n";
  const std::string hidden = "504 5.5.4 Mechanism not available\r\n";
  for (const std::string_view command :
       {"AUTH\r\n", "AUTH PLAIN a b\r\n", "AUTH PLAIN AAA\r\n", "AUTH PLAIN =\r\n",
        "AUTH PLAIN *\r\n", "AUTH LOGIN a=b=\r\n"}) {
    CAPTURE(command);
    d.client(command).to_client(malformed).to_server("");
  }
  for (const std::string_view command :
       {"AUTH CRAM-MD5\r\n", "AUTH NTLM\r\n", "AUTH SCRAM-SHA-256-PLUS x\r\n", "AUTH XOAUTH2 x\r\n",
        "AUTH GSSAPI\r\n", "X-EXPS LOGIN\r\n"}) {
    d.client(command).to_client(hidden).to_server("");
  }
  for (int i = 0; i < 7; ++i) d.client("AUTH NTLM\r\n").to_client(hidden);
  d.client("AUTH NTLM\r\n");
  CHECK(d.error().code == Errc::too_many_errors);
}

TEST_CASE("smtp client login: a malformed response ends the exchange only", "[proto][login]") {
  Submission d;
  d.client("AUTH PLAIN\r\n").to_client("334 \r\n");
  d.client("MAIL FROM:<a@b>\r\n").to_client("501 5.5.2 Invalid authentication exchange\r\n");
  d.client("MAIL FROM:<a@b>\r\n").to_client("530 5.7.0 Authentication required\r\n");
  d.client(kLogin).to_server(kAtServer);
}

TEST_CASE("LP23 smtp client login: a client that prefers LOGIN logs in by PLAIN at the server",
          "[proto][login]") {
  Submission d;
  d.client("AUTH LOGIN\r\n").to_client("334 VXNlcm5hbWU6\r\n");
  d.client(b64(kName) + "\r\n").to_client("334 UGFzc3dvcmQ6\r\n");
  d.client(b64(kPassword) + "\r\n").to_server(kAtServer);
}

TEST_CASE("LP20 LP21 smtp client login: after the login the client hears the server itself",
          "[proto][login]") {
  Submission d;
  d.client(kLogin).to_server(kAtServer);
  d.server("235 ok\r\n").to_client("235 2.7.0 Authentication successful\r\n");
  // The list of after the login and a refusal of MAIL are none of the proxy's business.
  d.client("EHLO c\r\n").server("250-mx\r\n250 AUTH SCRAM-SHA-1\r\n530 5.7.57 no\r\n");
  CHECK(d.unread_client() == "EHLO c\r\n");
  CHECK(d.unread_server() == "250-mx\r\n250 AUTH SCRAM-SHA-1\r\n530 5.7.57 no\r\n");
}

TEST_CASE("LP22 smtp client login: no login is offered before the required TLS",
          "[proto][login][security]") {
  DownstreamDialogue d{"smtp", login_settings(TlsMode::starttls), DownstreamDialogue::kGreeting,
                       one_account};
  static_cast<void>(d.take_to_client());
  d.client("EHLO c\r\n").to_server("");
  CHECK(d.take_to_client().find("AUTH") == std::string::npos);
  d.client(kLogin).to_server("").to_client("530 5.7.0 Must issue a STARTTLS command first\r\n");
}

TEST_CASE("smtp client login: a server that says goodbye gets a temporary answer and is replaced",
          "[proto][login]") {
  Submission d;
  d.client(kLogin).to_server(kAtServer);
  d.server("421 4.7.0 too many logins\r\n");
  const auto said = d.take_to_client();
  CHECK(said.starts_with("454 4.7.0 "));
  CHECK(d.reconnections() == 1);
  d.to_server("EHLO c\r\n");
  d.server("250-mx2\r\n250 AUTH LOGIN\r\n").to_client("");
  // The fresh connection's list counts.
  d.client(kLogin).to_server("AUTH LOGIN\r\n");
}

TEST_CASE("smtp client login: a wrong reply of the server ends the session", "[proto][login]") {
  Submission d;
  d.client(kLogin).to_server(kAtServer);
  d.server("hello\r\n");
  CHECK(d.error().code == Errc::protocol);
}

TEST_CASE("smtp client login: commands that wait behind a refused login are answered",
          "[proto][login]") {
  Submission d;
  d.client("AUTH PLAIN " + plain("x", "y") + "\r\nNOOP\r\nMAIL FROM:<a@b>\r\n")
      .to_server("NOOP\r\n");
  d.to_client("535 5.7.8 Authentication credentials invalid\r\n");
  d.server("250 ok\r\n").to_client("250 ok\r\n530 5.7.0 Authentication required\r\n");
}
