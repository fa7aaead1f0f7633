#include <string>
#include <string_view>

#include "tests/proto/login/client_login.h"
#include "tests/support/catch.h"

// Logins in the lists for the client, and in those of the server that the proxy remembers.

using namespace starttls;
using namespace starttls::proto;
using namespace starttls::test;

namespace {

const ClientRow& row_of(std::string_view protocol) {
  static const auto kRows = client_rows();
  for (const auto& row : kRows) {
    if (row.protocol == protocol) return row;
  }
  FAIL("no such row");
  return kRows.front();
}

/// Returns a list for a client that logs in to the proxy.
std::string list_seen(std::string_view protocol, std::string_view answer,
                      const RoleSettings& settings = login_settings()) {
  const auto& row = row_of(protocol);
  DownstreamDialogue d{protocol, settings, row.greeting, one_account};
  static_cast<void>(d.take_to_client());
  d.client(row.list.says).to_server(row.list.says);
  return d.server(answer).take_to_client();
}

std::string greeting_for_login(std::string_view protocol, std::string_view greeting,
                               const RoleSettings& settings = login_settings()) {
  DownstreamDialogue d{protocol, settings, greeting, one_account};
  const auto seen = d.take_to_client();
  return seen.empty() ? std::string(greeting) : seen;
}

RoleSettings with_login(TlsMode downstream, LoginWhen login) {
  auto settings = login_settings(downstream);
  settings.login = login;
  return settings;
}

}  // namespace

TEST_CASE("LP8 smtp client login: both spellings of the list become one line", "[proto][login]") {
  CHECK(list_seen("smtp",
                  "250-mx\r\n250-AUTH=LOGIN\r\n250-AUTH LOGIN\r\n250-x-exps=LOGIN\r\n"
                  "250 X-EXPS GSSAPI NTLM\r\n") == "250-mx\r\n250 AUTH PLAIN LOGIN\r\n");
  CHECK(list_seen("smtp", "250 mx\r\n") == "250-mx\r\n250 AUTH PLAIN LOGIN\r\n");
  CHECK(list_seen("smtp", "250-mx\r\n250 STARTTLS\r\n") == "250-mx\r\n250 AUTH PLAIN LOGIN\r\n");
  // A refusal has no list.
  CHECK(list_seen("smtp", "550-AUTH X\r\n550 no\r\n") == "550-AUTH X\r\n550 no\r\n");
}

TEST_CASE("smtp client login: STARTTLS stays the second line", "[proto][login]") {
  CHECK(list_seen("smtp", "250-mx\r\n250 AUTH X\r\n", login_settings(TlsMode::opportunistic)) ==
        "250-mx\r\n250-STARTTLS\r\n250 AUTH PLAIN LOGIN\r\n");
}

TEST_CASE("smtp: if the proxy logs in first, the client's list has no login", "[proto][login]") {
  for (const auto* protocol : {"smtp", "lmtp"}) {
    const auto settings = with_login(TlsMode::none, LoginWhen::connect);
    CHECK(list_seen(protocol,
                    "250-mx\r\n250-AUTH PLAIN\r\n250-AUTH=PLAIN\r\n250-X-EXPS NTLM\r\n250 SIZE\r\n",
                    settings) == "250-mx\r\n250 SIZE\r\n");
    DownstreamDialogue d{protocol, settings};
    d.client("AUTH PLAIN x\r\n").to_server("").to_client("503 5.5.1 AUTH is not available\r\n");
    d.client("X-EXPS\r\n").to_server("").to_client("504 5.5.4 Mechanism not available\r\n");
    d.client("MAIL FROM:<a@b>\r\n");
    CHECK(d.client_verdict() == Verdict::relay);
  }
}

TEST_CASE("pop3 client login: the greeting loses its APOP stamp, and APOP is refused",
          "[proto][login]") {
  CHECK(greeting_for_login("pop3", "+OK mx.example <1.2@mx.example> ready\r\n") ==
        "+OK mx.example  ready\r\n");
  CHECK(greeting_for_login("pop3", "+OK <a@b><c@d>\r\n") == "+OK \r\n");
  CHECK(greeting_for_login("pop3", "+OK a > b < c\r\n") == "+OK a > b < c\r\n");
  LoginClient d{row_of("pop3")};
  d.client("APOP scanner c4c9334bac560ecc979e58001b3e22fb\r\n")
      .to_server("")
      .to_client("-ERR Mechanism not available\r\n");
}

TEST_CASE("pop3 client login: AUTH without a mechanism lists the proxy's", "[proto][login]") {
  LoginClient d{row_of("pop3")};
  d.client("AUTH\r\n").to_server("").to_client("+OK\r\nPLAIN\r\nLOGIN\r\n.\r\n");
}

TEST_CASE("pop3 client login: the list offers STLS as well", "[proto][login]") {
  CHECK(list_seen("pop3", "+OK\r\nSTLS\r\nUSER\r\n.\r\n", login_settings(TlsMode::opportunistic)) ==
        "+OK\r\nUSER\r\nSASL PLAIN LOGIN\r\nSTLS\r\n.\r\n");
}

TEST_CASE("pop3 nntp client login: a password without a name is out of order", "[proto][login]") {
  LoginClient pop3{row_of("pop3")};
  pop3.client("PASS x\r\n").to_server("").to_client("-ERR Send USER first\r\n");
  pop3.client("USER a\r\nAUTH FOO\r\nPASS x\r\n")
      .to_client(
          "+OK Send the password\r\n-ERR Mechanism not available\r\n-ERR Send USER first\r\n");
  LoginClient nntp{row_of("nntp")};
  nntp.client("AUTHINFO PASS x\r\n").to_server("").to_client("482 Send AUTHINFO USER first\r\n");
}

TEST_CASE("nntp client login: only PLAIN and the two commands are offered", "[proto][login]") {
  LoginClient d{row_of("nntp")};
  d.client("AUTHINFO SASL LOGIN\r\n").to_client("503 Mechanism not available\r\n");
  d.client("AUTHINFO SASL\r\n").to_client("501 Invalid authentication exchange\r\n");
  d.client("AUTHINFO GENERIC x\r\n").to_client("480 Authentication required\r\n");
  d.client("AUTHINFO USER\r\n").to_client("501 Invalid authentication exchange\r\n");
  d.client("AUTHINFO\r\n").to_client("501 Invalid authentication exchange\r\n").to_server("");
}

TEST_CASE("nntp client login: a fresh connection is a reader's again", "[proto][login]") {
  const auto& row = row_of("nntp");
  LoginClient d{row};
  d.client("MODE READER\r\n").to_server("MODE READER\r\n");
  d.server("200 ok\r\n").to_client("200 ok\r\n");
  d.says(row.ways.front()).to_server(row.at_server.front().says);
  d.lost().to_server("MODE READER\r\n");
  static_cast<void>(d.take_to_client());
  d.server("200 ok again\r\n").to_client("");
}

TEST_CASE("sieve client login: a list without mechanisms gets the proxy's", "[proto][login]") {
  CHECK(list_seen("sieve", "\"SIEVE\" \"a\"\r\nOK\r\n") ==
        "\"SIEVE\" \"a\"\r\n\"SASL\" \"PLAIN LOGIN\"\r\nOK\r\n");
  CHECK(greeting_for_login("sieve", "\"SASL\" \"\"\r\n\"SIEVE\" \"a\"\r\nOK\r\n") ==
        "\"SIEVE\" \"a\"\r\n\"SASL\" \"PLAIN LOGIN\"\r\nOK\r\n");
}

TEST_CASE("sieve client login: malformed commands are refused", "[proto][login]") {
  LoginClient d{row_of("sieve")};
  for (const auto* command :
       {"AUTHENTICATE\r\n", "AUTHENTICATE PLAIN\r\n", "AUTHENTICATE \"PLAIN\" \"a\" \"b\"\r\n",
        "AUTHENTICATE \"PLAIN\" x\r\n", "AUTHENTICATE \"PLAIN\" \"=x\"\r\n"}) {
    CAPTURE(command);
    d.client(command).to_server("").to_client("NO \"Invalid authentication exchange\"\r\n");
  }
  d.client("AUTHENTICATE \"CRAM-MD5\"\r\n").to_client("NO \"Mechanism not available\"\r\n");
  d.client("AUTHENTICATE \"PLAIN\"\r\n").to_client("\"\"\r\n");
  d.client("not a string\r\n").to_client("NO \"Invalid authentication exchange\"\r\n");
}

TEST_CASE("sieve client login: a reason is a string without quotes", "[proto][login]") {
  LoginClient d{row_of("sieve"), [](const LoginRequest&) -> Result<Credentials> {
                  return fail(Errc::login, "a \"b\" \\ c\r\n" + std::string(600, 'x'));
                }};
  for (const auto& step : row_of("sieve").ways.front().steps) d.client(step.says);
  const auto said = d.take_to_client();
  CHECK(said.starts_with("\"\"\r\nNO (TRYLATER) \"a b  cx"));
  CHECK(said.ends_with("x\"\r\n"));
  CHECK(said.size() == 512 + 4 - 3);
}

TEST_CASE("client login: no list has a mechanism that hides the password", "[proto][login]") {
  for (const auto& row : client_rows()) {
    for (const auto* hidden : {"-PLUS", "SCRAM", "CRAM", "NTLM", "GSSAPI", "DISABLED", "UNAUTH"}) {
      CHECK(row.edited_list.find(hidden) == std::string::npos);
      CHECK(greeting_for_login(row.protocol, row.greeting).find(hidden) == std::string::npos);
    }
  }
}

TEST_CASE("client login: after the client's TLS the lists say the same", "[proto][login]") {
  for (const auto& row : client_rows()) {
    CAPTURE(row.protocol);
    DownstreamDialogue d{row.protocol, login_settings(TlsMode::starttls), row.greeting,
                         one_account};
    static_cast<void>(d.take_to_client());
    d.client(row.protocol == "imap"   ? "s STARTTLS\r\n"
             : row.protocol == "pop3" ? "STLS\r\n"
                                      : "STARTTLS\r\n");
    CHECK(d.client_verdict() == Verdict::start_tls);
    d.secured();
    static_cast<void>(d.take_to_client());
    d.client(row.list.says).to_server(row.list.says);
    d.server(row.list.answer).to_client(row.edited_list);
    for (const auto& step : row.ways.front().steps) d.client(step.says).to_client(step.answer);
    d.to_server(row.at_server.front().says);
  }
}

TEST_CASE("pop3 client login: a name from before the client's TLS is forgotten",
          "[proto][login][security]") {
  DownstreamDialogue d{"pop3", login_settings(TlsMode::opportunistic), "+OK hi\r\n", one_account};
  d.client("USER scanner\r\n");
  d.client("STLS\r\n").secured();
  static_cast<void>(d.take_to_client());
  d.client("PASS client-pw\r\n").to_client("-ERR Send USER first\r\n");
  CHECK(d.requests().empty());
}

TEST_CASE("client login: a server whose list is not known is asked for it", "[proto][login]") {
  for (const auto& [protocol, greeting, login, question] :
       {std::tuple{"imap", "* OK hi\r\n", "b LOGIN scanner client-pw\r\n",
                   "R4nd-1-1 CAPABILITY\r\n"},
        {"pop3", "+OK hi\r\n", "USER scanner\r\nPASS client-pw\r\n", "CAPA\r\n"},
        {"nntp", "200 hi\r\n", "AUTHINFO USER scanner\r\nAUTHINFO PASS client-pw\r\n",
         "CAPABILITIES\r\n"}}) {
    DownstreamDialogue d{protocol, login_settings(), greeting, one_account};
    static_cast<void>(d.take_to_client());
    d.client(login).to_server(question);
  }
}

TEST_CASE("client login: a server that lists nothing that fits gets a temporary answer",
          "[proto][login]") {
  for (const auto& [protocol, answer] :
       {std::pair{"smtp", "250-mx\r\n250 AUTH NTLM GSSAPI\r\n"},
        {"pop3", "+OK\r\nSASL NTLM\r\n.\r\n"},
        {"sieve", "\"SASL\" \"NTLM\"\r\nOK\r\n"},
        {"nntp", "101 list\r\nSASL NTLM\r\n.\r\n"},
        {"imap", "* CAPABILITY IMAP4rev1 AUTH=NTLM LOGINDISABLED\r\na OK done\r\n"}}) {
    CAPTURE(protocol);
    const auto& row = row_of(protocol);
    DownstreamDialogue d{protocol, login_settings(), row.greeting, one_account};
    static_cast<void>(d.take_to_client());
    d.client(row.list.says).server(answer);
    static_cast<void>(d.take_to_client());
    static_cast<void>(d.to_server(row.list.says));
    for (const auto& step : row.ways.front().steps) d.client(step.says);
    d.to_server("");
    const auto said = d.take_to_client();
    CHECK(said.find(row.unavailable) != std::string::npos);
    CHECK(said.find("NTLM") != std::string::npos);
    CHECK(d.pauses() == 0);
  }
}
