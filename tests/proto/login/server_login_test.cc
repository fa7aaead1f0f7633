#include "lib/proto/login/server_login.h"

#include <string>

#include "lib/base/base64.h"
#include "tests/proto/login/login_dialogue.h"

using namespace starttls;
using namespace starttls::proto;
using namespace starttls::test;
using Catch::Matchers::ContainsSubstring;
using Status = ServerLogin::Status;

namespace {

constexpr std::string_view kPlain = "AGFubgBzZXNhbWU=";
constexpr std::string_view kXoauth2 = "dXNlcj1hbm5AZXhhbXBsZS5jb20BYXV0aD1CZWFyZXIgdDBrZW4BAQ==";
constexpr std::string_view kOauthbearer =
    "bixhPWFubkBleGFtcGxlLmNvbSwBaG9zdD1tYWlsLmV4YW1wbGUuY29tAXBvcnQ9MTQzAWF1dGg9QmVhcmVyIHQwa2Vu"
    "AQE=";
/// {"status":"400","schemes":"Bearer","scope":"https://mail.example.com/"}
constexpr std::string_view kError =
    "eyJzdGF0dXMiOiI0MDAiLCJzY2hlbWVzIjoiQmVhcmVyIiwic2NvcGUiOiJodHRwczovL21haWwuZXhhbXBsZS5jb20v"
    "In0=";

/// The differences between protocols, as a server sees them.
struct Wire {
  std::string_view name;
  const LoginDialect& dialect;
  std::string_view command;    ///< comes before the mechanism, with the quote of ManageSieve
  std::string_view after;      ///< comes after it
  std::string_view challenge;  ///< an empty one
  std::string_view prompt;     ///< comes before a challenge's base64
  std::string_view end;        ///< closes a string
  std::string_view empty;      ///< a response without content
  std::string_view success;
  std::string_view refusal;
  std::string_view code;  ///< of the refusal
};

const Wire kWires[] = {
    {"smtp", login::kSmtp, "AUTH ", "\r\n", "334 \r\n", "334 ", "", "", "235 2.7.0 Welcome\r\n",
     "535 5.7.8 Bad\r\n", "535 5.7.8"},
    {"lmtp", login::kLmtp, "AUTH ", "\r\n", "334\r\n", "334 ", "", "", "235 Welcome\r\n",
     "535 5.7.8 Bad\r\n", "535 5.7.8"},
    {"imap", login::kImap, "R4nd1 AUTHENTICATE ", "\r\n", "+ \r\n", "+ ", "", "",
     "R4nd1 OK Welcome\r\n", "R4nd1 NO [AUTHENTICATIONFAILED] Bad\r\n",
     "NO [AUTHENTICATIONFAILED]"},
    {"pop3", login::kPop3, "AUTH ", "\r\n", "+ \r\n", "+ ", "", "", "+OK Welcome\r\n",
     "-ERR [AUTH] Bad\r\n", "-ERR [AUTH]"},
    {"sieve", login::kSieve, "AUTHENTICATE \"", "\"\r\n", "\"\"\r\n", "\"", "\"", "\"\"",
     "OK \"Welcome\"\r\n", "NO \"Bad\"\r\n", "NO"},
    {"nntp", login::kNntp, "AUTHINFO SASL ", "\r\n", "383 =\r\n", "383 ", "", "=",
     "281 Welcome\r\n", "481 Bad\r\n", "481"},
};

std::string command(const Wire& wire, std::string_view mechanism) {
  return std::string(wire.command) + std::string(mechanism) + std::string(wire.after);
}

std::string response(const Wire& wire, std::string_view base64) {
  const std::string text(base64.empty() ? wire.empty : base64);
  const bool quoted = wire.end == "\"" && !base64.empty();
  return (quoted ? '"' + text + '"' : text) + "\r\n";
}

std::string challenge(const Wire& wire, std::string_view base64) {
  return std::string(wire.prompt) + std::string(base64) + std::string(wire.end) + "\r\n";
}

/// Begins a login, and sends its first message. SMTP takes that within the command.
void begin(LoginDialogue& d, const Wire& wire, std::string_view mechanism, std::string_view first) {
  if (wire.dialect.authenticate == "AUTH" && wire.dialect.max_inline > 0) {
    d.sends(std::string(wire.command) + std::string(mechanism) + ' ' + std::string(first) + "\r\n");
    return;
  }
  d.sends(command(wire, mechanism)).peer(wire.challenge).sends(response(wire, first));
}

}  // namespace

// ---------------------------------------------------------------- every mechanism and protocol

TEST_CASE("LP2 LP10 login: a password by PLAIN and by LOGIN, in every protocol", "[proto][login]") {
  for (const auto& wire : kWires) {
    INFO(wire.name);
    LoginDialogue plain{wire.dialect, password(), listing({"LOGIN", "PLAIN"}, true)};
    begin(plain, wire, "PLAIN", kPlain);
    plain.peer(wire.success);
    CHECK(plain.succeeded());

    for (const auto& [name_prompt, password_prompt] :
         {std::pair{"VXNlcm5hbWU6", "UGFzc3dvcmQ6"}, std::pair{"VXNlciBOYW1lAA==", "AA=="},
          std::pair{"UGFzc3dvcmQ6", "VXNlcm5hbWU6"}}) {
      LoginDialogue login{wire.dialect, password(), listing({"CRAM-MD5", "login"}, true)};
      login.sends(command(wire, "LOGIN")).peer(challenge(wire, name_prompt));
      login.sends(response(wire, "YW5u")).peer(challenge(wire, password_prompt));
      login.sends(response(wire, "c2VzYW1l")).peer(wire.success);
      CHECK(login.succeeded());
    }
  }
}

TEST_CASE("LP5 login: a token by XOAUTH2 and by OAUTHBEARER, in every protocol", "[proto][login]") {
  for (const auto& wire : kWires) {
    INFO(wire.name);
    LoginDialogue both{wire.dialect, token(), listing({"PLAIN", "XOAUTH2", "OAUTHBEARER"}, true)};
    begin(both, wire, "OAUTHBEARER", kOauthbearer);
    both.peer(wire.success);
    CHECK(both.succeeded());

    LoginDialogue older{wire.dialect, token(), listing({"PLAIN", "XOAUTH2"}, true)};
    begin(older, wire, "XOAUTH2", kXoauth2);
    older.peer(wire.success);
    CHECK(older.succeeded());
  }
}

TEST_CASE("login: a refusal at once ends the exchange, with the server's code", "[proto][login]") {
  for (const auto& wire : kWires) {
    INFO(wire.name);
    LoginDialogue d{wire.dialect, password(), listing({"PLAIN"})};
    begin(d, wire, "PLAIN", kPlain);
    d.peer(wire.refusal).sends("");
    CHECK(d.refused());
    CHECK_THAT(
        d.failure(),
        ContainsSubstring("login: server refused the login: " + std::string(wire.code) + '|'));
    CHECK_THAT(d.failure(), ContainsSubstring("Bad"));

    LoginDialogue command_refused{wire.dialect, password(), listing({"LOGIN"})};
    command_refused.sends(command(wire, "LOGIN")).peer(wire.refusal).sends("");
    CHECK(command_refused.refused());
  }
}

TEST_CASE("LP3 LP4 login: the server's error is answered once, and only its status is logged",
          "[proto][login][security]") {
  for (const auto& wire : kWires) {
    for (const auto& [mechanism, first, answer] :
         {std::tuple{"XOAUTH2", kXoauth2, ""}, std::tuple{"OAUTHBEARER", kOauthbearer, "AQ=="}}) {
      INFO(wire.name << ' ' << mechanism);
      LoginDialogue d{wire.dialect, token(), listing({mechanism})};
      begin(d, wire, mechanism, first);
      d.peer(challenge(wire, kError)).sends(response(wire, answer));
      CHECK(d.waits());
      d.peer(wire.refusal).sends("");
      CHECK(d.refused());
      CHECK_THAT(d.failure(), ContainsSubstring("(status 400)"));
      CHECK_THAT(d.failure(), !ContainsSubstring("Bearer") && !ContainsSubstring("scope"));

      LoginDialogue endless{wire.dialect, token(), listing({mechanism})};
      begin(endless, wire, mechanism, first);
      endless.peer(challenge(wire, kError)).sends(response(wire, answer));
      endless.peer(challenge(wire, kError)).sends("");
      CHECK(endless.error().code == Errc::protocol);
      CHECK(endless.error().evidence.empty());
    }
  }
}

TEST_CASE("LP3 login: a challenge that a password's mechanism does not have is an error",
          "[proto][login]") {
  for (const auto& wire : kWires) {
    INFO(wire.name);
    LoginDialogue plain{wire.dialect, password(), listing({"PLAIN"})};
    begin(plain, wire, "PLAIN", kPlain);
    plain.peer(wire.challenge).sends("");
    CHECK(plain.error().code == Errc::protocol);

    LoginDialogue login{wire.dialect, password(), listing({"LOGIN"})};
    login.sends(command(wire, "LOGIN")).peer(wire.challenge).sends(response(wire, "YW5u"));
    login.peer(wire.challenge).sends(response(wire, "c2VzYW1l")).peer(wire.challenge).sends("");
    CHECK(login.error().code == Errc::protocol);
  }
}

TEST_CASE("N2 login: only the protocol's own success is one", "[proto][login][security]") {
  const auto answered = [](std::string_view protocol, std::string_view line) {
    for (const auto& wire : kWires) {
      if (wire.name != protocol) continue;
      LoginDialogue d{wire.dialect, password(), listing({"PLAIN"})};
      begin(d, wire, "PLAIN", kPlain);
      d.peer(std::string(line) + "\r\n").sends("");
      if (d.failed()) return std::string(name(d.error().code));
      return std::string(d.succeeded() ? "success" : "other");
    }
    return std::string("no such protocol");
  };
  for (const auto* line : {"250 ok", "220 ok", "234 ok", "236 ok", "200 ok", "2350 ok", "235ok",
                           "354 go", "", "ok", "+OK"}) {
    CHECK(answered("smtp", line) == "protocol");
  }
  for (const auto* line : {"R4nd1 PREAUTH x", "R4nd1 OKAY x", "R4nd1", "R4nd1  OK x"}) {
    CHECK(answered("imap", line) == "protocol");
  }
  for (const auto* line : {"R4nd OK x", "R4nd2 OK x", "r4nd1 OK x", "A1 OK x"}) {
    CHECK(answered("imap", line) == "attack");
  }
  for (const auto* line : {"+ok x", "+OKAY x", "OK x", "", " +OK", "++ x"}) {
    CHECK(answered("pop3", line) == "protocol");
  }
  for (const auto* line : {"OKAY", "ok?", "YES", "", " OK", "{5"}) {
    CHECK(answered("sieve", line) == "protocol");
  }
  for (const auto* line : {"280 x", "282 x", "200 x", "381 x", "2810 x", "281x", "101 x", ""}) {
    CHECK(answered("nntp", line) == "protocol");
  }
  CHECK(answered("nntp", "283 =") == "success");
  CHECK(answered("nntp", "281") == "success");
  CHECK(answered("sieve", "ok") == "success");
  CHECK(answered("smtp", "235") == "success");
}

TEST_CASE("login: a success before the secret is no success", "[proto][login][security]") {
  for (const auto& wire : kWires) {
    INFO(wire.name);
    for (const auto& [mechanism, credentials] :
         {std::pair{"LOGIN", password()}, std::pair{"XOAUTH2", token(std::string(600, 't'))}}) {
      LoginDialogue d{wire.dialect, credentials, listing({mechanism})};
      d.sends(command(wire, mechanism)).peer(wire.success).sends("");
      CHECK(d.error().code == Errc::protocol);
    }
    LoginDialogue half{wire.dialect, password(), listing({"LOGIN"})};
    half.peer(wire.challenge).peer(wire.success);
    CHECK(half.error().code == Errc::protocol);
  }
}

// ---------------------------------------------------------------- the choice

TEST_CASE("login: with a token no mechanism for passwords is used", "[proto][login][security]") {
  for (const auto& wire : kWires) {
    INFO(wire.name);
    LoginDialogue d{wire.dialect, token(), listing({"PLAIN", "LOGIN", "CRAM-MD5"}, true)};
    d.sends("");
    CHECK(d.not_offered());
    CHECK(d.failure() == "login: login_not_offered: the server lists PLAIN LOGIN CRAM-MD5|");
  }
}

TEST_CASE("login: with a password no mechanism for tokens is used", "[proto][login]") {
  for (const auto& wire : kWires) {
    LoginDialogue d{wire.dialect, password(), listing({"XOAUTH2", "OAUTHBEARER", "CRAM-MD5"})};
    d.sends("");
    CHECK(d.not_offered());
  }
  LoginDialogue nothing{login::kSmtp, password(), listing({})};
  CHECK(nothing.failure() == "login: login_not_offered: the server lists no mechanism|");
  LoginDialogue odd{login::kSmtp, password(), listing({"\x1b[1m", std::string(300, 'X')})};
  CHECK(odd.failure() ==
        "login: login_not_offered: the server lists [1m " + std::string(196, 'X') + '|');
}

TEST_CASE("LP23 login: the mechanism of the configuration is the only one", "[proto][login]") {
  const auto all = listing({"PLAIN", "LOGIN", "XOAUTH2", "OAUTHBEARER"}, true);
  LoginDialogue login{login::kPop3, password("sesame", Mechanism::login), all};
  login.sends("AUTH LOGIN\r\n");
  LoginDialogue xoauth2{login::kPop3, token("t0ken", Mechanism::xoauth2), all};
  xoauth2.sends("AUTH XOAUTH2\r\n");
  LoginDialogue as_password{login::kPop3, token("t0ken", Mechanism::plain), all};
  as_password.sends("AUTH PLAIN\r\n");
  LoginDialogue missing{login::kPop3, password("sesame", Mechanism::plain),
                        listing({"LOGIN"}, true)};
  missing.sends("");
  CHECK(missing.not_offered());
  LoginDialogue no_token{login::kPop3, password("sesame", Mechanism::xoauth2), all};
  CHECK(no_token.not_offered());
}

TEST_CASE("LP8 LP9 login: names of mechanisms are whole words, in any case", "[proto][login]") {
  for (const auto* name : {"plain", "PLAIN", "Plain"}) {
    LoginDialogue d{login::kPop3, password(), listing({name})};
    d.sends("AUTH PLAIN\r\n");
  }
  for (const auto* name : {"PLAIN-CLIENTTOKEN", "XPLAIN", "PLAI", "PLAIN\r", ""}) {
    LoginDialogue d{login::kPop3, password(), listing({name})};
    CHECK(d.not_offered());
  }
}

// ---------------------------------------------------------------- sizes

TEST_CASE("LP1 login smtp: a line of 512 bytes goes in one step, a longer one does not",
          "[proto][login]") {
  // "AUTH XOAUTH2 " and CRLF are 15 bytes, so the base64 may have 497: 496, in groups of four.
  for (const auto& [bytes, is_inline] : {std::pair{372U, true}, std::pair{373U, false}}) {
    const std::string_view frame = "user=ann@example.com\1auth=Bearer \1\1";
    const std::string secret(bytes - frame.size(), 't');
    LoginDialogue d{login::kSmtp, token(secret), listing({"XOAUTH2"})};
    const std::string text = "user=ann@example.com\1auth=Bearer " + secret + "\1\1";
    const auto base64 =
        base64::encode({reinterpret_cast<const std::uint8_t*>(text.data()), text.size()});
    if (is_inline) {
      d.sends("AUTH XOAUTH2 " + base64 + "\r\n").peer("235 ok\r\n");
    } else {
      d.sends("AUTH XOAUTH2\r\n").peer("334 \r\n").sends(base64 + "\r\n").peer("235 ok\r\n");
    }
    CHECK(d.succeeded());
  }
}

TEST_CASE("LP1 login smtp: exactly 512 bytes with the line's end", "[proto][login]") {
  // "AUTH PLAIN " and CRLF are 13 bytes. With a group of four no line has 512 bytes: 509 and 513.
  for (const auto& [bytes, is_inline] : {std::pair{372U, true}, std::pair{375U, false}}) {
    const std::string secret(bytes - 5, 's');  // NUL ann NUL
    LoginDialogue d{login::kSmtp, password(secret), listing({"PLAIN"})};
    std::string text("\0ann\0", 5);
    text += secret;
    const auto base64 =
        base64::encode({reinterpret_cast<const std::uint8_t*>(text.data()), text.size()});
    d.sends(is_inline ? "AUTH PLAIN " + base64 + "\r\n" : "AUTH PLAIN\r\n");
  }
}

TEST_CASE("LP1 login imap: one step with SASL-IR, if the line has at most 8 KiB",
          "[proto][login]") {
  auto offer = listing({"PLAIN"});
  LoginDialogue without{login::kImap, password(), offer};
  without.sends("R4nd1 AUTHENTICATE PLAIN\r\n");
  offer.initial_response = true;
  LoginDialogue with{login::kImap, password(), offer};
  with.sends("R4nd1 AUTHENTICATE PLAIN " + std::string(kPlain) + "\r\n").peer("R4nd1 OK x\r\n");
  CHECK(with.succeeded());

  // "R4nd1 AUTHENTICATE PLAIN " and CRLF are 27 bytes; 8165 are left, so 8164 of base64.
  for (const auto& [bytes, is_inline] : {std::pair{6123U, true}, std::pair{6124U, false}}) {
    LoginDialogue d{login::kImap, password(std::string(bytes - 5, 's')), offer};
    std::string text("\0ann\0", 5);
    text += std::string(bytes - 5, 's');
    const auto base64 =
        base64::encode({reinterpret_cast<const std::uint8_t*>(text.data()), text.size()});
    if (is_inline) {
      d.sends("R4nd1 AUTHENTICATE PLAIN " + base64 + "\r\n");
    } else {
      d.sends("R4nd1 AUTHENTICATE PLAIN\r\n").peer("+\r\n").sends(base64 + "\r\n");
    }
  }
}

TEST_CASE("LP2 login: POP3, ManageSieve and NNTP never take an initial response",
          "[proto][login]") {
  auto offer = listing({"PLAIN"});
  offer.initial_response = true;
  LoginDialogue pop3{login::kPop3, password(), offer};
  pop3.sends("AUTH PLAIN\r\n");
  LoginDialogue sieve{login::kSieve, password(), offer};
  sieve.sends("AUTHENTICATE \"PLAIN\"\r\n");
  LoginDialogue nntp{login::kNntp, password(), offer};
  nntp.sends("AUTHINFO SASL PLAIN\r\n");
}

TEST_CASE("login sieve: a response over 1024 bytes is a literal", "[proto][login]") {
  for (const auto& [bytes, quoted] : {std::pair{768U, true}, std::pair{769U, false}}) {
    const std::string secret(bytes - 5, 's');
    std::string text("\0ann\0", 5);
    text += secret;
    const auto base64 =
        base64::encode({reinterpret_cast<const std::uint8_t*>(text.data()), text.size()});
    CHECK(base64.size() == (quoted ? 1024 : 1028));
    LoginDialogue d{login::kSieve, password(secret), listing({"PLAIN"})};
    d.sends("AUTHENTICATE \"PLAIN\"\r\n").peer("{0}\r\n\r\n");
    d.sends(quoted ? '"' + base64 + "\"\r\n" : "{1028+}\r\n" + base64 + "\r\n");
    d.peer("OK\r\n");
    CHECK(d.succeeded());
  }
}

TEST_CASE("LP17 login: secrets that do not fit are refused before anything is sent",
          "[proto][login][security]") {
  using namespace std::string_literals;
  const auto reason = [](const Credentials& credentials) {
    const auto result = usable(credentials);
    return result ? std::string("usable") : result.error().reason;
  };
  for (const auto& bad : {"a\0b"s, "a\rb"s, "a\nb"s, "a\r\nMAIL FROM:<x>\r\n"s}) {
    CHECK(reason(password(bad)) == "the secret has a control character");
    CHECK(reason(token(bad)) == "the secret has a control character");
    auto named = password();
    named.user = bad;
    CHECK(reason(named) == "the login name has a control character");
    for (const auto& wire : kWires) {
      LoginDialogue d{wire.dialect, password(bad), listing({"PLAIN"}, true)};
      d.sends("");
      CHECK(d.refused());
      CHECK(d.failure() == "login: the secret has a control character|");
    }
  }
  CHECK(reason(password("a\1b")) == "usable");
  CHECK(reason(token("a\1auth=Bearer x")) == "the secret has a control character");
  auto named = token();
  named.user = "ann\1auth=Bearer x";
  CHECK(reason(named) == "the login name has a control character");

  CHECK(reason(password("")) == "the secret is empty");
  CHECK(reason(password("x")) == "usable");
  CHECK(reason(password(std::string(255, 'x'))) == "usable");
  CHECK(reason(password(std::string(9000, 'x'))) == "usable");
  CHECK(reason(password(std::string(9001, 'x'))) == "the secret is too long");
  CHECK(reason(token(std::string(9001, 'x'))) == "the secret is too long");
  named = password();
  named.user = std::string(255, 'n');
  CHECK(reason(named) == "usable");
  named.user += 'n';
  CHECK(reason(named) == "the login name is too long");
  named.user.clear();
  CHECK(reason(named) == "the login name is empty");

  auto clients_own = password("a\nb");
  CHECK(usable(clients_own).error().code == Errc::login);
  clients_own.passed_on = true;
  CHECK(usable(clients_own).error().code == Errc::client_login);
}

TEST_CASE("login: a secret of 9000 bytes reaches the server in every protocol", "[proto][login]") {
  const std::string secret(9000, 't');
  const std::string text = "user=ann@example.com\1auth=Bearer " + secret + "\1\1";
  const auto base64 =
      base64::encode({reinterpret_cast<const std::uint8_t*>(text.data()), text.size()});
  for (const auto& wire : kWires) {
    INFO(wire.name);
    LoginDialogue d{wire.dialect, token(secret), listing({"XOAUTH2"})};
    d.sends(command(wire, "XOAUTH2")).peer(wire.challenge);
    const bool literal = wire.name == "sieve";
    d.sends(literal ? '{' + std::to_string(base64.size()) + "+}\r\n" + base64 + "\r\n"
                    : base64 + "\r\n");
    d.peer(wire.success);
    CHECK(d.succeeded());
  }
}

// ---------------------------------------------------------------- tolerance

TEST_CASE("LP6 login: challenges without text or blank are accepted", "[proto][login]") {
  for (const auto* line :
       {"334\r\n", "334 \r\n", "334 anything at all\r\n", "334 =\r\n", "334VXNlcm5hbWU6\r\n"}) {
    LoginDialogue d{login::kSmtp, password(), listing({"LOGIN"})};
    d.sends("AUTH LOGIN\r\n").peer(line).sends("YW5u\r\n").peer(line).sends("c2VzYW1l\r\n");
  }
  for (const auto* line : {"+\r\n", "+ \r\n", "+ VXNlcm5hbWU6\r\n", "+VXNlcm5hbWU6\r\n"}) {
    LoginDialogue d{login::kImap, password(), listing({"LOGIN"})};
    d.sends("R4nd1 AUTHENTICATE LOGIN\r\n").peer(line).sends("YW5u\r\n");
    d.peer(line).sends("c2VzYW1l\r\n");
  }
  for (const auto* line : {"+\r\n", "+ \r\n", "+ VXNlcm5hbWU6\r\n", "+VXNlcm5hbWU6\r\n"}) {
    LoginDialogue d{login::kPop3, password(), listing({"LOGIN"})};
    d.sends("AUTH LOGIN\r\n").peer(line).sends("YW5u\r\n").peer(line).sends("c2VzYW1l\r\n");
  }
  for (const auto* line : {"383\r\n", "383 =\r\n", "383 VXNlcm5hbWU6\r\n"}) {
    LoginDialogue d{login::kNntp, password(), listing({"LOGIN"})};
    d.sends("AUTHINFO SASL LOGIN\r\n").peer(line).sends("YW5u\r\n");
  }
  for (const auto* line : {"\"\"\r\n", "{0}\r\n\r\n", "{3+}\r\nabc\r\n", "\"VXNlcm5hbWU6\" \r\n"}) {
    LoginDialogue d{login::kSieve, password(), listing({"LOGIN"})};
    d.sends("AUTHENTICATE \"LOGIN\"\r\n").peer(line).sends("\"YW5u\"\r\n");
  }
}

TEST_CASE("LP7 login imap: untagged responses may come at any point, and pass on success",
          "[proto][login]") {
  LoginDialogue d{login::kImap, password(), listing({"PLAIN"})};
  d.sends("R4nd1 AUTHENTICATE PLAIN\r\n");
  d.peer("* 1 EXISTS\r\n+ \r\n* OK still here\r\n").sends(std::string(kPlain) + "\r\n");
  d.peer("* LIST {3}\r\na\rb\r\n* CAPABILITY IMAP4rev1 IDLE\r\n").sends("");
  d.peer("R4nd1 OK [CAPABILITY IMAP4rev1 IDLE] Logged in\r\n* 2 EXISTS\r\n");
  CHECK(d.succeeded());
  CHECK(d.reply() ==
        "OK|[CAPABILITY IMAP4rev1 IDLE] Logged in|* 1 EXISTS\r\n* OK still here\r\n"
        "* LIST {3}\r\na\rb\r\n* CAPABILITY IMAP4rev1 IDLE\r\n");
  CHECK(d.unread() == "* 2 EXISTS\r\n");
}

TEST_CASE("login sieve: a list may come with the success, and passes", "[proto][login]") {
  for (const std::string list :
       {"\"SIEVE\" \"fileinto\"\r\n\"SASL\" \"\"\r\n\"STARTTLS\"\r\n\"VERSION\" \"1.0\" \r\n",
        "\"UNAUTHENTICATE\"\r\n", "\"STARTTLS\"\r\n\"SASL\" \"PLAIN\"\r\n", "\"XFOO\"\r\n",
        "{5}\r\nOWNER \"ann\"\r\n", "\"OWNER\" {5}\r\na\r\nnn\r\n", "{4}\r\nXFOO\r\n"}) {
    CAPTURE(list);
    LoginDialogue plain{login::kSieve, password(), listing({"PLAIN"})};
    plain.peer("\"\"\r\n").sends("AUTHENTICATE \"PLAIN\"\r\n\"" + std::string(kPlain) + "\"\r\n");
    plain.peer(list + "OK (SASL \"cnNwYXV0aA==\") \"in\"\r\n\"SIEVE\"").sends("");
    CHECK(plain.succeeded());
    CHECK(plain.reply() == "OK|in|" + list);
    CHECK(plain.unread() == "\"SIEVE\"");

    LoginDialogue login{login::kSieve, password(), listing({"LOGIN"})};
    login.peer("\"XFOO\"\r\n").peer("\"XFOO\"\r\n").peer(list + "OK\r\n");
    login.sends("AUTHENTICATE \"LOGIN\"\r\n\"YW5u\"\r\n\"c2VzYW1l\"\r\n");
    CHECK(login.reply() == "OK||" + list);

    LoginDialogue xoauth2{login::kSieve, token(), listing({"XOAUTH2"})};
    xoauth2.peer("\"\"\r\n")
        .sends("AUTHENTICATE \"XOAUTH2\"\r\n\"" + std::string(kXoauth2) + "\"\r\n");
    xoauth2.peer(list + "OK\r\n").sends("");
    CHECK(xoauth2.reply() == "OK||" + list);

    LoginDialogue refused{login::kSieve, password(), listing({"PLAIN"})};
    refused.peer("\"\"\r\n").peer(list + "NO \"no\"\r\n");
    CHECK(refused.refused());
  }
}

TEST_CASE("login sieve: a list before the secret is no success", "[proto][login][security]") {
  const std::string line = "\"SIEVE\" \"fileinto\"\r\n";
  LoginDialogue command{login::kSieve, password(), listing({"LOGIN"})};
  command.peer(line);
  CHECK(command.error().code == Errc::protocol);
  LoginDialogue half{login::kSieve, password(), listing({"LOGIN"})};
  half.peer("\"\"\r\n").peer(line);
  CHECK(half.error().code == Errc::protocol);
}

TEST_CASE("login sieve: lines with strings that are no list end the login",
          "[proto][login][security]") {
  for (const std::string line :
       {"\"A\" \"b\" \"c\"\r\n", "\"A\" b\r\n", "\"A\"(b)\r\n", "\"\"\r\n", "{0}\r\n\r\n"}) {
    CAPTURE(line);
    LoginDialogue d{login::kSieve, password(), listing({"PLAIN"})};
    d.peer("\"\"\r\n").peer(line);
    CHECK(d.error().code == Errc::protocol);
  }
  std::string endless;
  while (endless.size() <= kMaxReply) endless += "\"X\" \"" + std::string(4000, 'x') + "\"\r\n";
  LoginDialogue d{login::kSieve, password(), listing({"PLAIN"})};
  d.peer("\"\"\r\n").peer(endless);
  CHECK(d.error().code == Errc::protocol);
}

TEST_CASE("login smtp: replies may have several lines", "[proto][login]") {
  LoginDialogue good{login::kSmtp, password(), listing({"PLAIN"})};
  good.peer("235-2.7.0 Hello\r\n235-ann\r\n235 2.7.0 Welcome\r\n250 early");
  CHECK(good.succeeded());
  CHECK(good.reply() == "235|2.7.0 Hello ann 2.7.0 Welcome|");
  CHECK(good.unread() == "250 early");

  LoginDialogue bad{login::kSmtp, password(), listing({"PLAIN"})};
  bad.peer("535-5.7.8 Username and Password not accepted.\r\n535 5.7.8  See help\r\n");
  CHECK(bad.refused());
  CHECK(bad.failure() ==
        "login: server refused the login: 535 5.7.8|"
        "535 5.7.8 Username and Password not accepted.  See help");
}

TEST_CASE("LP21 login smtp: every refusal is one, whatever its code", "[proto][login]") {
  for (const auto* code : {"432", "454", "500", "501", "504", "530", "534", "535", "538", "550"}) {
    LoginDialogue d{login::kSmtp, password(), listing({"PLAIN"})};
    d.peer(std::string(code) + " 5.7.57 Client not authenticated\r\n");
    CHECK(d.refused());
    CHECK_THAT(d.failure(), ContainsSubstring(std::string(code) + " 5.7.57|"));
  }
}

TEST_CASE("login: a server that says goodbye is gone", "[proto][login]") {
  const auto gone = [](const LoginDialect& dialect, std::string_view line) {
    LoginDialogue d{dialect, password(), listing({"PLAIN"})};
    d.peer(std::string(line) + "\r\n");
    return d.gone() ? d.failure() : "not gone";
  };
  CHECK(gone(login::kSmtp, "421 4.7.0 Too many") ==
        "login: server ended the login: 421 4.7.0|421 4.7.0 Too many");
  CHECK(gone(login::kImap, "* BYE [UNAVAILABLE] later") ==
        "login: server ended the login: BYE [UNAVAILABLE]|BYE [UNAVAILABLE] later");
  CHECK(gone(login::kSieve, "BYE \"later\"") == "login: server ended the login: BYE|BYE later");
  CHECK(gone(login::kNntp, "400 later") == "login: server ended the login: 400|400 later");
  LoginDialogue asked{login::kImap, password()};
  asked.peer("* BYE x\r\n");
  CHECK(asked.gone());
}

TEST_CASE("login: Microsoft's 5.7.139 comes with what to do", "[proto][login]") {
  LoginDialogue d{login::kSmtp, token(), listing({"XOAUTH2"})};
  d.peer("535 5.7.139 Authentication unsuccessful, SmtpClientAuthentication is disabled\r\n");
  CHECK_THAT(d.failure(),
             ContainsSubstring("535 5.7.139: SMTP AUTH is switched off for the tenant or the "
                               "mailbox: switch it on there|"));
}

TEST_CASE("login: a refusal of the client's own password is the client's", "[proto][login]") {
  auto credentials = password();
  credentials.passed_on = true;
  LoginDialogue d{login::kSmtp, credentials, listing({"PLAIN"})};
  d.peer("535 5.7.8 Bad\r\n");
  CHECK_THAT(d.failure(), ContainsSubstring("client_login: server refused the login"));
  CHECK(d.reply() == "535|5.7.8 Bad|");
  LoginDialogue missing{login::kSmtp, credentials, listing({})};
  CHECK_THAT(missing.failure(), ContainsSubstring("login: login_not_offered"));
  CHECK_THAT(missing.failure(), !ContainsSubstring("client_login"));
}

// ---------------------------------------------------------------- answers before questions

TEST_CASE("B12 login: a reply that is there before its command is no answer",
          "[proto][login][security]") {
  for (const auto& wire : kWires) {
    INFO(wire.name);
    for (const auto& early : {std::string(wire.success), std::string(wire.challenge),
                              std::string(wire.refusal), std::string("x")}) {
      LoginDialogue d{wire.dialect, password(), listing({"LOGIN"})};
      d.peer(std::string(wire.challenge) + early);
      CHECK(d.error().code == Errc::attack);
      CHECK(d.error().attack == Attack::unsolicited);
    }
    ServerLogin inside{wire.dialect, password(), listing({"LOGIN"}), "R4nd",
                       line_rules(TlsMode::implicit, Errc::protocol)};
    std::string out;
    CHECK(inside.begin(out) == Status::going_on);
    const auto result =
        inside.on_input(std::string(wire.challenge) + std::string(wire.challenge), out);
    REQUIRE(!result.has_value());
    CHECK(result.error().code == Errc::protocol);
    CHECK(out.find("c2VzYW1l") == std::string::npos);
  }
}

TEST_CASE("login: D16: an empty line after a reply is a mistake of the server", "[proto][login]") {
  LoginDialogue d{login::kPop3, password(), listing({"LOGIN"})};
  d.peer("+ \r\n").peer("\r\n");
  CHECK(d.error().code == Errc::protocol);
}

TEST_CASE("P8 login: lines, replies and untagged responses have limits",
          "[proto][login][security]") {
  for (const auto& wire : kWires) {
    LoginDialogue d{wire.dialect, password(), listing({"PLAIN"})};
    d.peer(std::string(wire.prompt) + std::string(kMaxLine, 'x'));
    CHECK(d.error().code == Errc::protocol);
  }
  const std::string line = std::string(4000, 'x') + "\r\n";
  std::string smtp, imap;
  while (smtp.size() <= kMaxReply) smtp += "235-" + line;
  while (imap.size() <= kMaxReply) imap += "* " + line;
  LoginDialogue lines{login::kSmtp, password(), listing({"PLAIN"})};
  CHECK(lines.peer(smtp).error().code == Errc::protocol);
  LoginDialogue untagged{login::kImap, password(), listing({"PLAIN"})};
  CHECK(untagged.peer(imap).error().code == Errc::protocol);
  LoginDialogue literal{login::kImap, password(), listing({"PLAIN"})};
  CHECK(literal.peer("* LIST {4294967296}\r\n").error().code == Errc::protocol);
}

TEST_CASE("login sieve: code and text of a response are read in one line", "[proto][login]") {
  for (const auto& [line, reply] : {std::pair{"NO", "NO||"},
                                    {"NO (TRYLATER)", "NO|(TRYLATER)|"},
                                    {"NO (TRYLATER) \"a \\\"b\\\"\"", "NO|(TRYLATER) a \"b\"|"},
                                    {"no (TRYLATER) {6}\r\na\r\nb c", "no|(TRYLATER) a  b c|"},
                                    {"NO {4}\r\na) b", "NO|a) b|"},
                                    {"NO (REFERRAL \"sieve://x/)\") \"there\"", "NO|there|"},
                                    {"NO (TAG {3}\r\na)b) \"there\"", "NO|there|"},
                                    {"NO not a string", "NO|not a string|"},
                                    {"NO (", "NO|(|"}}) {
    CAPTURE(line);
    LoginDialogue d{login::kSieve, password(), listing({"PLAIN"})};
    d.peer("\"\"\r\n").peer(std::string(line) + "\r\n");
    CHECK(d.refused());
    CHECK(d.reply() == reply);
  }
}

TEST_CASE("login: a secret that is not all printable is found in the server's words",
          "[proto][login][security]") {
  LoginDialogue d{login::kSmtp, password("s\xe9same"), listing({"PLAIN"})};
  d.peer("535 5.7.8 No s\xe9same here\r\n");
  CHECK(d.reply() == "535|5.7.8|");
}

TEST_CASE("login: words of the server that repeat the secret are not kept",
          "[proto][login][security]") {
  for (const auto* echo : {"sesame", "AGFubgBzZXNhbWU="}) {
    LoginDialogue refused{login::kSmtp, password(), listing({"PLAIN"})};
    refused.peer("535 5.7.8 No user with " + std::string(echo) + " here\r\n");
    // The code stays: it says if the client may try again.
    CHECK(refused.failure() == "login: server refused the login: 535 5.7.8|535 5.7.8");
    CHECK(refused.reply() == "535|5.7.8|");
    LoginDialogue bare{login::kSmtp, password(), listing({"PLAIN"})};
    bare.peer("454 " + std::string(echo) + " 4.7.0\r\n");
    CHECK(bare.reply() == "454||");
    LoginDialogue hidden{login::kSmtp, password(), listing({"PLAIN"})};
    hidden.peer("535 5.7.8 " + std::string(echo).insert(2, "\x1b") + "\r\n");
    CHECK(hidden.reply() == "535|5.7.8|");
    LoginDialogue invalid{login::kSmtp, password(), listing({"PLAIN"})};
    invalid.peer("AUTH PLAIN " + std::string(echo) + "\r\n");
    CHECK(invalid.error().evidence == "AUTH PLAIN ");
    LoginDialogue cut{login::kSmtp, password(), listing({"PLAIN"})};
    cut.peer(std::string(195, '-') + std::string(echo) + "\r\n");
    CHECK(cut.error().evidence == std::string(195, '-'));
  }
}
