#include "tests/proto/login/client_login.h"

#include "lib/base/ascii.h"
#include "lib/proto/lines.h"
#include "tests/support/catch.h"

using namespace starttls;
using namespace starttls::proto;
using namespace starttls::test;
using namespace std::string_literals;

namespace {

/// Checks that the client gets a temporary answer with this reason.
void check_unavailable(LoginClient& d, const ClientRow& row, std::string_view reason) {
  const auto answer = d.take_to_client();
  CAPTURE(answer);
  CHECK(answer.starts_with(row.unavailable));
  CHECK(answer.find(reason) != std::string::npos);
  CHECK(answer.ends_with(row.unavailable_end));
  CHECK(answer.size() <= 512);
  CHECK(d.client_verdict() == Verdict::need_more);
}

/// Returns credentials of the proxy, with another secret at each call.
Accounts fresh_each_time(std::vector<std::string> secrets) {
  return [secrets = std::move(secrets)](const LoginRequest& request) -> Result<Credentials> {
    const auto& secret = request.refused ? secrets.back() : secrets.front();
    return Credentials{.user = std::string(kUser), .secret = Secret(secret)};
  };
}

/// Returns a role that asks for credentials, since its client has logged in.
std::unique_ptr<DownstreamRole> role_that_asks(const ClientRow& row) {
  auto role = find_protocol(row.protocol)->downstream(login_settings());
  std::string to_client;
  std::string to_server;
  REQUIRE(role->begin(row.greeting, to_client));
  REQUIRE(role->from_client(row.list.says, to_client, to_server));
  REQUIRE(role->from_server(row.list.answer, to_client, to_server));
  for (const auto& step : row.ways.front().steps) {
    REQUIRE(role->from_client(step.says, to_client, to_server));
  }
  return role;
}

}  // namespace

TEST_CASE("LP11 client login: each way of each protocol ends in the relay of both directions",
          "[proto][login]") {
  for (const auto& row : client_rows()) {
    for (const auto& way : row.ways) {
      CAPTURE(row.protocol, way.steps.front().says);
      LoginClient d{row};
      d.says(way).server_accepts().to_client(row.success).to_server("");
      CHECK(d.client_verdict() == Verdict::relay);
      CHECK(d.server_verdict() == Verdict::relay);
      REQUIRE(d.requests().size() == 1);
      const auto& request = d.requests().front();
      CHECK(request.name == kName);
      CHECK(request.password.reveal() == kPassword);
      CHECK(request.mechanism == way.mechanism);
      CHECK_FALSE(request.refused);
      REQUIRE(d.reports().size() == 1);
      const auto& report = d.reports().front();
      CHECK(report.name == kName);
      CHECK(report.user == kUser);
      CHECK(report.client == way.mechanism);
      CHECK(report.server == Mechanism::plain);
      CHECK_FALSE(report.failure);
    }
  }
}

TEST_CASE("client login: what follows the success passes unchanged", "[proto][login]") {
  for (const auto& row : client_rows()) {
    LoginClient d{row};
    const auto& way = row.ways.front();
    for (const auto& step : way.steps) d.client(step.says);
    d.client("anything {9+}\r\n");
    static_cast<void>(d.take_to_client());
    d.server_says(row.at_server.back().answer + "250-AUTH X\r\n").to_client(row.success);
    CHECK(d.unread_client() == "anything {9+}\r\n");
    CHECK(d.unread_server() == "250-AUTH X\r\n");
  }
}

TEST_CASE("client login: a login waits for the replies to all earlier commands", "[proto][login]") {
  for (const auto& row : client_rows()) {
    for (const auto& way : row.ways) {
      CAPTURE(row.protocol, way.steps.front().says);
      LoginClient d{row};
      std::string all = row.list.says;
      std::string answers = row.edited_list;
      for (const auto& [says, answer] : way.steps) {
        all += says;
        answers += answer;
      }
      d.client(all).to_server(row.list.says).to_client("");
      CHECK(d.requests().empty());
      d.server(row.list.answer).to_client(answers);
      CHECK(d.requests().size() == 1);
      d.server_accepts().to_client(row.success);
      CHECK(d.client_verdict() == Verdict::relay);
    }
  }
}

TEST_CASE("client login: wrong names and wrong passwords get the same words after a pause",
          "[proto][login][security]") {
  for (const auto& row : client_rows()) {
    for (const auto& way : row.ways) {
      CAPTURE(row.protocol, way.steps.front().says);
      for (const bool is_name : {true, false}) {
        const auto accounts = [is_name](const LoginRequest&) -> Result<Credentials> {
          return fail(Errc::client_login, is_name ? "no such name" : "wrong password");
        };
        LoginClient d{row, accounts};
        for (const auto& step : way.steps) d.client(step.says);
        const auto answer = d.take_to_client();
        CHECK(answer.ends_with(row.refusal));
        CHECK(d.pauses() == 1);
        CHECK(d.client_verdict() == Verdict::need_more);
        d.to_server("");
        REQUIRE(d.reports().size() == 1);
        CHECK(d.reports().front().failure->code == Errc::client_login);
        CHECK(d.reports().front().server == Mechanism::automatic);
      }
    }
  }
}

TEST_CASE("client login: the third refusal is answered, then the session ends", "[proto][login]") {
  for (const auto& row : client_rows()) {
    LoginClient d{row, [](const LoginRequest&) -> Result<Credentials> {
                    return fail(Errc::client_login, "wrong password");
                  }};
    const auto& way = row.ways.front();
    for (unsigned i = 1; i <= 3; ++i) {
      for (const auto& step : way.steps) d.client(step.says);
      CHECK(d.take_to_client().ends_with(row.refusal));
      CHECK(d.pauses() == i);
    }
    CHECK(d.error().code == Errc::client_login);
    d.to_server("");
  }
}

TEST_CASE("client login: the client may try again after a refusal", "[proto][login]") {
  for (const auto& row : client_rows()) {
    unsigned calls = 0;
    LoginClient d{row, [calls](const LoginRequest& request) mutable -> Result<Credentials> {
                    if (++calls == 1) return fail(Errc::client_login, "wrong password");
                    return one_account(request);
                  }};
    for (const auto& step : row.ways.back().steps) d.client(step.says);
    CHECK(d.take_to_client().ends_with(row.refusal));
    d.says(row.ways.front()).server_accepts().to_client(row.success);
    CHECK(d.client_verdict() == Verdict::relay);
  }
}

TEST_CASE("client login: without a secret the client gets a temporary answer and no pause",
          "[proto][login]") {
  for (const auto& row : client_rows()) {
    LoginClient d{row, no_secret};
    const auto& way = row.ways.front();
    for (unsigned i = 0; i < 4; ++i) {  // it is not counted as a refusal
      for (const auto& step : way.steps) d.client(step.says);
      CHECK(d.take_to_client().ends_with(row.unavailable + "the token has expired" +
                                         row.unavailable_end));
    }
    CHECK(d.pauses() == 0);
    CHECK(d.client_verdict() == Verdict::need_more);
    d.to_server("");
    REQUIRE(d.reports().size() == 4);
    CHECK(d.reports().front().failure->code == Errc::login);
    CHECK(d.reports().front().user.empty());
  }
}

TEST_CASE("client login: a refused secret of the proxy is asked for anew, once", "[proto][login]") {
  for (const auto& row : client_rows()) {
    LoginClient d{row, fresh_each_time({std::string(kSecret), "fresh"})};
    d.says(row.ways.front()).server_says(row.server_refuses).to_client("");
    REQUIRE(d.requests().size() == 2);
    CHECK(d.requests()[1].refused);
    CHECK(d.requests()[1].name == kName);
    static_cast<void>(d.reports());
    CHECK(d.reports().empty());
    // The second refusal is final, and no fault of the client's.
    std::string second = row.server_refuses;
    for (const auto& [says, answer] : row.at_server) {
      static_cast<void>(says);
      const bool is_last = &answer == &row.at_server.back().answer;
      if (!is_last) d.server(answer);
    }
    if (row.protocol == "imap") second = "R4nd-2-1 NO no\r\n";
    d.server(second);
    check_unavailable(d, row, row.protocol == "imap" ? "NO" : "");
    CHECK(d.requests().size() == 2);
    CHECK(d.pauses() == 0);
    REQUIRE(d.reports().size() == 1);
    CHECK(d.reports().front().failure->code == Errc::login);
    CHECK(d.reports().front().server == Mechanism::plain);
  }
}

TEST_CASE("client login: a secret that is the refused one again is not sent again",
          "[proto][login]") {
  for (const auto& row : client_rows()) {
    LoginClient d{row};
    d.says(row.ways.front()).server_says(row.server_refuses).to_server("");
    CHECK(d.requests().size() == 2);
    check_unavailable(d, row, "");
    CHECK(d.pauses() == 0);
  }
}

TEST_CASE("LP13 client login: a wrong password of the client says nothing about the secret",
          "[proto][login]") {
  for (const auto& row : client_rows()) {
    LoginClient wrong{row, [](const LoginRequest&) -> Result<Credentials> {
                        return fail(Errc::client_login, "wrong password");
                      }};
    for (const auto& step : row.ways.front().steps) wrong.client(step.says);
    REQUIRE(wrong.requests().size() == 1);
    CHECK_FALSE(wrong.requests().front().refused);
  }
}

TEST_CASE("client login: the server's refusal of the client's own password passes, after a pause",
          "[proto][login]") {
  for (auto row : client_rows()) {
    const auto theirs = plain(kUser, kSecret);
    const auto ours = plain(kName, kPassword);
    for (auto& step : row.at_server) {
      if (const auto at = step.says.find(theirs); at != std::string::npos) {
        step.says.replace(at, theirs.size(), ours);
      }
    }
    LoginClient d{row, passes_on};
    d.says(row.ways.front()).server_says(row.server_refuses).to_client(row.passed_refusal);
    CHECK(d.pauses() == 1);
    CHECK(d.requests().size() == 1);
    CHECK(d.client_verdict() == Verdict::need_more);
    REQUIRE(d.reports().size() == 1);
    CHECK(d.reports().front().failure->code == Errc::client_login);
    CHECK(d.reports().front().user == kName);
  }
}

TEST_CASE("client login: the server's code passes with a refusal, whatever its text",
          "[proto][login][security]") {
  struct Refusal {
    std::string_view protocol;
    std::string_view server;
    std::string_view client;
  };
  for (auto row : client_rows()) {
    for (auto& step : row.at_server) {
      const auto theirs = plain(kUser, kSecret);
      if (const auto at = step.says.find(theirs); at != std::string::npos) {
        step.says.replace(at, theirs.size(), plain(kName, kPassword));
      }
    }
    const bool smtp = row.protocol == "smtp" || row.protocol == "lmtp";
    for (const auto& [protocol, server, client] : {
             Refusal{"smtp", "454\r\n", "454 The server refused the login\r\n"},
             {"smtp", "454 4.7.0\r\n", "454 4.7.0 The server refused the login\r\n"},
             {"smtp", "454 4.7.0 Temporary\r\n", "454 4.7.0 Temporary\r\n"},
             // It repeats the password, and ends in the beginning of it.
             {"smtp", "454 4.7.0 no client-pw\r\n", "454 4.7.0 The server refused the login\r\n"},
             {"smtp", "454 ask your client\r\n", "454 The server refused the login\r\n"},
             {"imap", "R4nd-1-1 NO\r\n", "b NO The server refused the login\r\n"},
             {"imap", "R4nd-1-1 NO [UNAVAILABLE]\r\n",
              "b NO [UNAVAILABLE] The server refused the login\r\n"},
             {"imap", "R4nd-1-1 NO [UNAVAILABLE] no client-pw\r\n",
              "b NO [UNAVAILABLE] The server refused the login\r\n"},
             {"imap", "R4nd-1-1 BAD client-pw\r\n", "b BAD The server refused the login\r\n"},
             {"pop3", "-ERR\r\n", "-ERR The server refused the login\r\n"},
             {"pop3", "-ERR [SYS/TEMP] no client-pw\r\n",
              "-ERR [SYS/TEMP] The server refused the login\r\n"},
             {"sieve", "NO\r\n", "NO \"The server refused the login\"\r\n"},
             {"sieve", "NO (TRYLATER)\r\n", "NO (TRYLATER) \"The server refused the login\"\r\n"},
             {"sieve", "NO (TRYLATER) \"no client-pw\"\r\n",
              "NO (TRYLATER) \"The server refused the login\"\r\n"},
             {"sieve", "NO (TRYLATER) {5}\r\nlater\r\n", "NO (TRYLATER) \"later\"\r\n"},
             {"nntp", "403\r\n", "403 The server refused the login\r\n"},
             {"nntp", "403 no client-pw\r\n", "403 The server refused the login\r\n"},
         }) {
      if (protocol != row.protocol && !(smtp && protocol == "smtp")) continue;
      CAPTURE(row.protocol, server);
      LoginClient d{row, passes_on};
      d.says(row.ways.front()).server_says(server).to_client(client);
      CHECK(d.pauses() == 1);
      REQUIRE(d.reports().size() == 1);
      CHECK(d.reports().front().failure->code == Errc::client_login);
    }
  }
}

TEST_CASE("client login: the text of a refusal that passes is one line of at most 512 bytes",
          "[proto][login]") {
  for (auto row : client_rows()) {
    if (row.protocol != "sieve") continue;
    LoginClient d{row, passes_on};
    for (const auto& step : row.ways.front().steps) d.client(step.says);
    static_cast<void>(d.take_to_client());
    d.server("\"\"\r\n").server("NO \"" + std::string(600, '\'') + "\"\r\n");
    const auto answer = d.take_to_client();
    CHECK(answer.size() == 512);
    CHECK(answer.ends_with("'\"\r\n"));
  }
}

TEST_CASE("client login: the log has the code of a refusal, and none of the server's words",
          "[proto][login][security]") {
  for (const auto& row : client_rows()) {
    CAPTURE(row.protocol);
    LoginClient d{row};
    d.says(row.ways.front()).server_says(row.server_refuses);
    static_cast<void>(d.take_to_client());
    REQUIRE(d.reports().size() == 1);
    const auto& failure = *d.reports().front().failure;
    CHECK(failure.reason == "server refused the login: " + row.refusal_code);
    CHECK(failure.evidence == row.refusal_code);
  }
  const auto row = client_rows().front();
  LoginClient d{row};
  d.says(row.ways.front());
  d.server("421 4.7.0 Too many logins by scanner\r\n");
  static_cast<void>(d.take_to_client());
  REQUIRE(d.reports().size() == 1);
  CHECK(d.reports().front().failure->evidence == "421 4.7.0");

  LoginClient switched_off{row};
  switched_off.says(row.ways.front());
  switched_off.server("535 5.7.139 SmtpClientAuthentication is disabled for client-pw\r\n");
  REQUIRE(switched_off.reports().size() == 1);
  const auto& failure = *switched_off.reports().front().failure;
  CHECK(failure.evidence == "535 5.7.139");
  CHECK(failure.reason.find("535 5.7.139: SMTP AUTH is switched off") != std::string::npos);
}

TEST_CASE("client login: the client's password leaves the proxy only if its account says so",
          "[proto][login][security]") {
  for (const auto& row : client_rows()) {
    for (const auto& way : row.ways) {
      LoginClient d{row, [](const LoginRequest& request) -> Result<Credentials> {
                      // A secret that looks like it is the client's, but is not said to be.
                      return Credentials{.user = request.name, .secret = Secret(kSecret)};
                    }};
      for (const auto& step : way.steps) d.client(step.says);
      for (const auto& step : row.at_server) d.server(step.answer);
      CHECK(d.client_verdict() == Verdict::relay);
      const auto sent = d.all_to_server();
      CHECK(sent.find(plain(kName, kSecret)) != std::string::npos);
      CHECK(sent.find(kPassword) == std::string::npos);
      CHECK(sent.find(b64(kPassword)) == std::string::npos);
      CHECK(sent.find(plain(kName, kPassword)) == std::string::npos);
    }
  }
}

TEST_CASE("client login: before the login only commands that need none reach the server",
          "[proto][login][security]") {
  for (const auto& row : client_rows()) {
    for (const auto& command : row.passing) {
      CAPTURE(row.protocol, command);
      LoginClient d{row};
      d.client(command).to_server(command).to_client("");
      CHECK(d.client_verdict() == Verdict::need_more);
    }
    for (const auto& command : row.others) {
      CAPTURE(row.protocol, command);
      LoginClient d{row};
      d.client(command).to_server("").to_client(row.required);
      CHECK(d.client_verdict() == Verdict::need_more);
    }
  }
}

TEST_CASE("client login: refused commands count as errors", "[proto][login]") {
  for (const auto& row : client_rows()) {
    LoginClient d{row};
    for (int i = 1; i < 20; ++i) d.client(row.others.front()).to_client(row.required);
    d.client(row.others.front());
    CHECK(d.error().code == Errc::too_many_errors);
  }
}

TEST_CASE("LP11 client login: a cancelled login is answered, and the client may go on",
          "[proto][login]") {
  for (const auto& row : client_rows()) {
    for (const auto& way : row.ways) {
      if (way.mechanism == Mechanism::native || way.steps.size() == 1) continue;
      CAPTURE(row.protocol, way.steps.front().says);
      LoginClient d{row};
      for (std::size_t i = 0; i + 1 < way.steps.size(); ++i) {
        d.client(way.steps[i].says).to_client(way.steps[i].answer);
      }
      d.client(row.protocol == "sieve" ? "\"*\"\r\n" : "*\r\n").to_client(row.cancelled);
      CHECK(d.requests().empty());
      d.says(row.ways.front()).server_accepts().to_client(row.success);
    }
  }
}

TEST_CASE("client login: a server that hangs up during the login is replaced once",
          "[proto][login]") {
  for (const auto& row : client_rows()) {
    CAPTURE(row.protocol);
    LoginClient d{row};
    d.says(row.ways.front()).to_server(row.at_server.front().says);
    d.lost();
    check_unavailable(d, row, "server left during the login");
    CHECK(d.reconnections() == 1);
    const bool has_hello = row.protocol == "smtp" || row.protocol == "lmtp";
    d.to_server(has_hello ? row.list.says : "");
    if (has_hello) d.server(row.list.answer).to_client("");
    REQUIRE(d.reports().size() == 1);
    CHECK(d.reports().front().failure->code == Errc::login);

    d.says(row.ways.front());
    CHECK(d.requests().size() == 2);
    d.lost();
    CHECK(d.take_to_client().starts_with(row.unavailable));
    CHECK(d.server_verdict() == Verdict::finish);
    CHECK_FALSE(d.failed());
    CHECK(d.reconnections() == 1);
  }
}

TEST_CASE("client login: a fresh secret is used on a fresh connection if the server has closed",
          "[proto][login]") {
  for (const auto& row : client_rows()) {
    CAPTURE(row.protocol);
    const auto role = role_that_asks(row);
    std::string to_client;
    std::string to_server;
    CHECK(role->login_report() == nullptr);
    const Credentials credentials{.user = std::string(kUser), .secret = Secret(kSecret)};
    REQUIRE(role->on_credentials(credentials, to_client, to_server));
    for (const auto& step : row.at_server) {
      const bool is_last = &step == &row.at_server.back();
      const auto heard =
          role->from_server(is_last ? row.server_refuses : step.answer, to_client, to_server);
      REQUIRE(heard);
      CHECK(heard->verdict == (is_last ? Verdict::log_in : Verdict::need_more));
    }
    CHECK(role->login_request().refused);

    to_client.clear();
    to_server.clear();
    const auto lost = role->on_server_lost("connection closed", to_client);
    REQUIRE(lost);
    CHECK(*lost == Verdict::reconnect);
    auto verdict = role->reconnected(to_server);
    REQUIRE(verdict);
    if (row.protocol == "smtp" || row.protocol == "lmtp") {
      CHECK(*verdict == Verdict::need_more);
      CHECK(to_server == row.list.says);
      const auto heard = role->from_server(row.list.answer, to_client, to_server);
      REQUIRE(heard);
      verdict = heard->verdict;
    }
    CHECK(*verdict == Verdict::log_in);
    CHECK_FALSE(role->login_request().refused);  // it has been fetched anew
    CHECK(to_client.empty());
    CHECK(role->login_report() == nullptr);
    const Credentials fresh{.user = std::string(kUser), .secret = Secret("fresh")};
    to_server.clear();
    const auto begun = role->on_credentials(fresh, to_client, to_server);
    REQUIRE(begun);
    CHECK(*begun == Verdict::need_more);
    CHECK_FALSE(to_server.empty());
    CHECK(to_client.empty());

    // There is no third connection for this login.
    const auto again = role->on_server_lost("connection closed", to_client);
    REQUIRE(again);
    CHECK(*again == Verdict::finish);
    CHECK(to_client.starts_with(row.unavailable));
  }
}

TEST_CASE("client login: a fresh secret that gets no answer is used on a fresh connection",
          "[proto][login]") {
  for (const auto& row : client_rows()) {
    CAPTURE(row.protocol);
    const auto role = role_that_asks(row);
    std::string to_client;
    std::string to_server;
    const Credentials first{.user = std::string(kUser), .secret = Secret(kSecret)};
    REQUIRE(role->on_credentials(first, to_client, to_server));
    for (const auto& step : row.at_server) {
      const bool is_last = &step == &row.at_server.back();
      REQUIRE(role->from_server(is_last ? row.server_refuses : step.answer, to_client, to_server));
    }
    const Credentials fresh{.user = std::string(kUser), .secret = Secret("fresh")};
    REQUIRE(role->on_credentials(fresh, to_client, to_server) == Verdict::need_more);
    to_client.clear();
    const auto lost = role->on_server_lost("connection closed", to_client);
    REQUIRE(lost);
    CHECK(*lost == Verdict::reconnect);
    CHECK(to_client.empty());
    CHECK(role->login_report() == nullptr);
  }
}

TEST_CASE("client login: words of the server before our login are no answer to it",
          "[proto][login][security]") {
  for (const auto& row : client_rows()) {
    CAPTURE(row.protocol);
    const auto role = role_that_asks(row);
    std::string to_client;
    std::string to_server;
    const auto nothing = role->from_server("", to_client, to_server);
    REQUIRE(nothing);
    CHECK(nothing->consumed == 0);
    for (const auto& early : {row.server_refuses, std::string("2")}) {
      const auto heard = role->from_server(early, to_client, to_server);
      REQUIRE_FALSE(heard);
      const auto code = heard.error().code;
      CHECK((code == Errc::attack || code == Errc::protocol));
    }
    CHECK(to_client.empty());
    CHECK(to_server.empty());
  }
}

TEST_CASE("client login: a goodbye may come before our login", "[proto][login]") {
  for (const auto& row : client_rows()) {
    const std::string_view goodbye = row.protocol == "imap"    ? "* BYE later\r\n"
                                     : row.protocol == "sieve" ? "BYE \"later\"\r\n"
                                     : row.protocol == "nntp"  ? "400 later\r\n"
                                                               : "421 4.4.2 idle\r\n";
    if (row.protocol == "pop3") continue;  // it has no such word
    CAPTURE(row.protocol);
    const auto role = role_that_asks(row);
    std::string to_client;
    std::string to_server;
    const auto heard = role->from_server(goodbye, to_client, to_server);
    REQUIRE(heard);
    CHECK(heard->consumed == 0);
  }
}

TEST_CASE("client login: a server that hangs up while no login is under way ends the session",
          "[proto][login]") {
  for (const auto& row : client_rows()) {
    LoginClient d{row};
    d.lost().to_client("").to_server("");
    CHECK_FALSE(d.failed());
    CHECK(d.reconnections() == 0);
  }
}

TEST_CASE("client login: names and secrets that no account can have are refused unasked",
          "[proto][login][security]") {
  for (const auto& row : client_rows()) {
    if (row.protocol == "nntp" || row.protocol == "sieve") continue;  // the same machine
    for (const auto& message :
         {"\0a\rb\0p"s, "\0a\nb\0p"s, "\0\0p"s, "admin\0scanner\0client-pw"s, "\0scanner\0p\nq"s,
          "\0"s + std::string(256, 'n') + "\0p"s, "\0scanner\0"s + std::string(9001, 'p')}) {
      LoginClient d{row};
      const std::string head = row.protocol == "imap" ? "b AUTHENTICATE PLAIN " : "AUTH PLAIN ";
      d.client(head + b64(message) + "\r\n").to_client(row.refusal).to_server("");
      CHECK(d.pauses() == 1);
      CHECK(d.requests().empty());
    }
  }
}

TEST_CASE("client login: the longest name and the longest secret are accepted in every way",
          "[proto][login]") {
  const std::string name(200, 'n');  // base64 of 255 would be too long for a line (RFC 4954 §4)
  const std::string secret(9000, '"');
  const auto message = plain(name, secret);
  std::string quoted;
  for (const char c : secret) quoted += std::string("\\") + c;
  const std::vector<std::pair<std::string, std::string>> logins = {
      {"smtp", "AUTH PLAIN " + message + "\r\n"},
      {"smtp", "AUTH PLAIN\r\n" + message + "\r\n"},
      {"imap", "b AUTHENTICATE PLAIN " + message + "\r\n"},
      {"imap", "b LOGIN " + name + " \"" + quoted + "\"\r\n"},
      {"imap", "b LOGIN " + name + " {9000+}\r\n" + secret + "\r\n"},
      {"pop3", "USER " + name + "\r\nPASS " + secret + "\r\n"},
      {"pop3", "AUTH PLAIN " + message + "\r\n"},
      {"sieve", "AUTHENTICATE \"PLAIN\" \"" + message + "\"\r\n"},
      {"nntp", "AUTHINFO USER " + name + "\r\nAUTHINFO PASS " + secret + "\r\n"},
      {"nntp", "AUTHINFO SASL PLAIN\r\n" + message + "\r\n"},
  };
  for (const auto& [protocol, says] : logins) {
    CAPTURE(protocol);
    for (const auto& row : client_rows()) {
      if (row.protocol != protocol) continue;
      LoginClient d{row, no_secret};
      d.client(says);
      REQUIRE(d.requests().size() == 1);
      CHECK(d.requests().front().name == name);
      CHECK(d.requests().front().password.reveal() == secret);
    }
  }
}

TEST_CASE("client login: a login that is longer than any can be ends the session",
          "[proto][login]") {
  for (const auto& row : client_rows()) {
    const std::string head = row.protocol == "imap"    ? "b AUTHENTICATE PLAIN "
                             : row.protocol == "sieve" ? "AUTHENTICATE \"PLAIN\" \""
                             : row.protocol == "nntp"  ? "AUTHINFO SASL PLAIN "
                                                       : "AUTH PLAIN ";
    LoginClient d{row};
    d.client(head + std::string(20480, 'A')).to_server("");
    CHECK(d.error().code == Errc::client_protocol);
    LoginClient late{row};
    late.client(row.protocol == "sieve" ? "AUTHENTICATE \"PLAIN\"\r\n" : head + "\r\n");
    late.client(std::string(12288, 'A')).to_server("");
    CHECK(late.error().code == Errc::client_protocol);
  }
}

TEST_CASE("client login: passwords may have blanks and any bytes but line ends", "[proto][login]") {
  const std::string word = " a \"b\\ \xe9{5}";
  const std::vector<std::pair<std::string, std::string>> logins = {
      {"pop3", "USER scanner\r\nPASS " + word + "\r\n"},
      {"nntp", "AUTHINFO USER scanner\r\nAUTHINFO PASS " + word + "\r\n"},
      {"imap", "b LOGIN scanner \" a \\\"b\\\\ \xe9{5}\"\r\n"},
      {"imap", "b LOGIN scanner {" + std::to_string(word.size()) + "+}\r\n" + word + "\r\n"},
  };
  for (const auto& [protocol, says] : logins) {
    for (const auto& row : client_rows()) {
      if (row.protocol != protocol) continue;
      LoginClient d{row, no_secret};
      d.client(says);
      REQUIRE(d.requests().size() == 1);
      CHECK(d.requests().front().password.reveal() == word);
    }
  }
}

TEST_CASE("client login: no login is accepted before the client's TLS, if that is required",
          "[proto][login][security]") {
  for (const auto& row : client_rows()) {
    for (const auto& way : row.ways) {
      DownstreamDialogue d{row.protocol, login_settings(TlsMode::starttls), row.greeting,
                           one_account};
      static_cast<void>(d.take_to_client());
      d.client(way.steps.front().says).to_server("");
      CHECK(d.requests().empty());
      const auto answer = d.take_to_client();
      CHECK(answer.find("334") == std::string::npos);
      CHECK(answer.find("+ ") == std::string::npos);
    }
  }
}
