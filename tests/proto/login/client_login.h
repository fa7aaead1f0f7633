#pragma once

// Dialogues of clients that log in to the proxy, one row per protocol.

#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "lib/base/base64.h"
#include "tests/support/catch.h"
#include "tests/support/dialogue.h"
#include "tests/support/roles.h"

namespace starttls::test {

inline std::string b64(std::string_view text) {
  return base64::encode(std::span{reinterpret_cast<const std::uint8_t*>(text.data()), text.size()});
}

/// Returns the message of PLAIN.
inline std::string plain(std::string_view name, std::string_view password) {
  std::string message(1, '\0');
  message += name;
  message += '\0';
  message += password;
  return b64(message);
}

/// Lines of one peer, and the answer to them.
struct Exchange {
  std::string says;
  std::string answer;
};

/// A way in which a client logs in. The last exchange has no answer: the login is complete.
struct Way {
  Mechanism mechanism;
  std::vector<Exchange> steps;
};

constexpr std::string_view kName = "scanner";
constexpr std::string_view kPassword = "client-pw";
constexpr std::string_view kUser = "scan@example.com";
constexpr std::string_view kSecret = "proxy-secret";

struct ClientRow {
  std::string protocol;
  std::string greeting;
  Exchange list;            ///< the command for a list, and the server's
  std::string edited_list;  ///< as the client sees it
  std::vector<Way> ways;
  std::vector<Exchange> at_server;  ///< our login with `kUser` and `kSecret`, up to the success
  std::string success;              ///< for the client
  std::string server_refuses;       ///< in place of the success
  std::string refusal_code;         ///< of it, for the log
  std::string passed_refusal;       ///< for the client
  std::string refusal;
  std::string unavailable;  ///< before the reason
  std::string unavailable_end;
  std::vector<std::string> passing;  ///< commands before the login
  std::vector<std::string> others;
  std::string required;   ///< the answer to them
  std::string cancelled;  ///< the answer to the cancelling of the first way that has a challenge
};

inline std::vector<ClientRow> client_rows() {
  const auto theirs = plain(kUser, kSecret);
  const auto ours = plain(kName, kPassword);
  const auto name = b64(kName);
  const auto word = b64(kPassword);
  const std::string prompt = "VXNlcm5hbWU6";
  const std::string next_prompt = "UGFzc3dvcmQ6";
  const auto smtp = [&](const std::string& protocol, const std::string& hello) {
    return ClientRow{
        .protocol = protocol,
        .greeting = "220 mx.example\r\n",
        .list = {hello + " c\r\n",
                 "250-mx\r\n250-AUTH SCRAM-SHA-256-PLUS PLAIN GSSAPI\r\n250-AUTH=PLAIN\r\n"
                 "250-X-EXPS NTLM\r\n250 SIZE\r\n"},
        .edited_list = "250-mx\r\n250-SIZE\r\n250 AUTH PLAIN LOGIN\r\n",
        .ways = {{Mechanism::plain, {{"AUTH PLAIN\r\n", "334 \r\n"}, {ours + "\r\n", ""}}},
                 {Mechanism::plain, {{"auth plain " + ours + "\r\n", ""}}},
                 {Mechanism::login,
                  {{"AUTH LOGIN\r\n", "334 " + prompt + "\r\n"},
                   {name + "\r\n", "334 " + next_prompt + "\r\n"},
                   {word + "\r\n", ""}}},
                 {Mechanism::login,
                  {{"AUTH LOGIN " + name + "\r\n", "334 " + next_prompt + "\r\n"},
                   {word + "\n", ""}}}},
        .at_server = {{"AUTH PLAIN " + theirs + "\r\n", "235 2.7.0 Welcome\r\n"}},
        .success = "235 2.7.0 Authentication successful\r\n",
        .server_refuses = "535-5.7.8 Bad\r\n535 5.7.8 password\r\n",
        .refusal_code = "535 5.7.8",
        .passed_refusal = "535 5.7.8 Bad password\r\n",
        .refusal = "535 5.7.8 Authentication credentials invalid\r\n",
        .unavailable = "454 4.7.0 ",
        .unavailable_end = "\r\n",
        .passing = {"NOOP\r\n", "RSET\r\n", "HELP x\r\n", "HELO c\r\n", "QUIT\r\n"},
        .others = {"MAIL FROM:<a@b>\r\n", "BDAT 5\r\n", "VRFY a\r\n", "ETRN a\r\n",
                   "X-ANONYMOUSTLS\r\n", "XCLIENT NAME=a\r\n", "SAML a\r\n", "FOO\r\n"},
        .required = "530 5.7.0 Authentication required\r\n",
        .cancelled = "501 5.7.0 Authentication cancelled\r\n"};
  };
  std::vector<ClientRow> rows{smtp("smtp", "EHLO"), smtp("lmtp", "LHLO")};
  rows.push_back(
      {.protocol = "imap",
       .greeting = "* OK [CAPABILITY IMAP4rev1 AUTH=PLAIN SASL-IR AUTH=SCRAM-SHA-1-PLUS "
                   "UNAUTHENTICATE LOGINDISABLED IDLE] mx.example\r\n",
       .list = {"a CAPABILITY\r\n",
                "* CAPABILITY IMAP4rev1 AUTH=PLAIN AUTH=NTLM SASL-IR ID\r\na OK done\r\n"},
       .edited_list = "* CAPABILITY IMAP4rev1 ID AUTH=PLAIN AUTH=LOGIN SASL-IR\r\na OK done\r\n",
       .ways = {{Mechanism::native, {{"b LOGIN scanner client-pw\r\n", ""}}},
                {Mechanism::native, {{"b login \"scan\\ner\" \"client-pw\"\r\n", ""}}},
                {Mechanism::native,
                 {{"b LOGIN {7}\r\n", "+ Ready for literal data\r\n"},
                  {"scanner {9}\r\n", "+ Ready for literal data\r\n"},
                  {"client-pw\r\n", ""}}},
                {Mechanism::native, {{"b LOGIN {7+}\r\nscanner {9+}\r\nclient-pw\r\n", ""}}},
                {Mechanism::native, {{"b LOGIN scanner {9+}\r\nclient-pw\r\n", ""}}},
                {Mechanism::plain, {{"b AUTHENTICATE PLAIN\r\n", "+ \r\n"}, {ours + "\r\n", ""}}},
                {Mechanism::plain, {{"b AUTHENTICATE PLAIN " + ours + "\r\n", ""}}},
                {Mechanism::login,
                 {{"b AUTHENTICATE LOGIN\r\n", "+ " + prompt + "\r\n"},
                  {name + "\r\n", "+ " + next_prompt + "\r\n"},
                  {word + "\r\n", ""}}},
                {Mechanism::login,
                 {{"b AUTHENTICATE LOGIN " + name + "\r\n", "+ " + next_prompt + "\r\n"},
                  {word + "\r\n", ""}}}},
       .at_server = {{"R4nd-1-1 AUTHENTICATE PLAIN " + theirs + "\r\n",
                      "* CAPABILITY IMAP4rev1 IDLE UNAUTHENTICATE MOVE\r\n"
                      "R4nd-1-1 OK [CAPABILITY IMAP4rev1 UNAUTHENTICATE MOVE] Welcome\r\n"}},
       .success = "* CAPABILITY IMAP4rev1 IDLE MOVE\r\n"
                  "b OK [CAPABILITY IMAP4rev1 MOVE] Welcome\r\n",
       .server_refuses = "R4nd-1-1 NO [AUTHENTICATIONFAILED] Bad password\r\n",
       .refusal_code = "NO [AUTHENTICATIONFAILED]",
       .passed_refusal = "b NO [AUTHENTICATIONFAILED] Bad password\r\n",
       .refusal = "b NO [AUTHENTICATIONFAILED] Authentication failed\r\n",
       .unavailable = "b NO [UNAVAILABLE] ",
       .unavailable_end = "\r\n",
       .passing = {"c CAPABILITY\r\n", "c NOOP\r\n", "c ID NIL\r\n", "c LOGOUT\r\n"},
       .others = {"z SELECT INBOX\r\n", "z COMPRESS DEFLATE\r\n", "z ENABLE UTF8=ACCEPT\r\n",
                  "z NOOP x\r\n", "z LIST {1+}\r\na {1+}\r\nb\r\n", "z LIST {5}\r\n",
                  "z XCLIENT a\r\n", "z UNAUTHENTICATE\r\n"},
       .required = "z NO Log in first\r\n",
       .cancelled = "b BAD Authentication cancelled\r\n"});
  rows.push_back(
      {.protocol = "pop3",
       .greeting = "+OK mx.example <1.2@mx.example>\r\n",
       .list = {"CAPA\r\n", "+OK\r\nTOP\r\nUSER\r\nSASL PLAIN X-PLUS CRAM-MD5\r\nUIDL\r\n.\r\n"},
       .edited_list = "+OK\r\nTOP\r\nUIDL\r\nUSER\r\nSASL PLAIN LOGIN\r\n.\r\n",
       .ways = {{Mechanism::native,
                 {{"USER scanner\r\n", "+OK Send the password\r\n"}, {"PASS client-pw\r\n", ""}}},
                {Mechanism::plain, {{"AUTH PLAIN\r\n", "+ \r\n"}, {ours + "\r\n", ""}}},
                {Mechanism::plain, {{"AUTH PLAIN " + ours + "\r\n", ""}}},
                {Mechanism::login,
                 {{"AUTH LOGIN\r\n", "+ " + prompt + "\r\n"},
                  {name + "\r\n", "+ " + next_prompt + "\r\n"},
                  {word + "\r\n", ""}}}},
       .at_server = {{"AUTH PLAIN\r\n", "+ \r\n"}, {theirs + "\r\n", "+OK Welcome\r\n"}},
       .success = "+OK Logged in\r\n",
       .server_refuses = "-ERR [AUTH] Bad password\r\n",
       .refusal_code = "-ERR [AUTH]",
       .passed_refusal = "-ERR [AUTH] Bad password\r\n",
       .refusal = "-ERR [AUTH] Authentication failed\r\n",
       .unavailable = "-ERR [SYS/TEMP] ",
       .unavailable_end = "\r\n",
       .passing = {"CAPA\r\n", "NOOP\r\n", "QUIT\r\n"},
       .others = {"STAT\r\n", "UTF8\r\n", "LANG\r\n", "HELP\r\n", "XCLIENT a\r\n", "TOP 1 1\r\n"},
       .required = "-ERR Log in first\r\n",
       .cancelled = "-ERR Authentication cancelled\r\n"});
  rows.push_back(
      {.protocol = "sieve",
       .greeting = "\"SASL\" \"PLAIN\"\r\n\"SIEVE\" \"fileinto\"\r\nOK\r\n",
       .list = {"CAPABILITY\r\n",
                "\"SASL\" \"PLAIN SCRAM-SHA-1-PLUS NTLM\"\r\n\"UNAUTHENTICATE\"\r\n"
                "\"SIEVE\" \"x\"\r\nOK \"done\"\r\n"},
       .edited_list = "\"SIEVE\" \"x\"\r\n\"SASL\" \"PLAIN LOGIN\"\r\nOK \"done\"\r\n",
       .ways = {{Mechanism::plain,
                 {{"AUTHENTICATE \"PLAIN\"\r\n", "\"\"\r\n"}, {"\"" + ours + "\"\r\n", ""}}},
                {Mechanism::plain,
                 {{"AUTHENTICATE \"PLAIN\"\r\n", "\"\"\r\n"},
                  {"{" + std::to_string(ours.size()) + "+}\r\n" + ours + "\r\n", ""}}},
                {Mechanism::plain, {{"Authenticate \"plain\" \"" + ours + "\"\r\n", ""}}},
                {Mechanism::plain,
                 {{"AUTHENTICATE {5+}\r\nPLAIN {" + std::to_string(ours.size()) + "+}\r\n" + ours +
                       "\r\n",
                   ""}}},
                {Mechanism::login,
                 {{"AUTHENTICATE \"LOGIN\"\r\n", "\"" + prompt + "\"\r\n"},
                  {"\"" + name + "\"\r\n", "\"" + next_prompt + "\"\r\n"},
                  {"\"" + word + "\"\r\n", ""}}},
                {Mechanism::login,
                 {{"AUTHENTICATE \"LOGIN\" \"" + name + "\"\r\n", "\"" + next_prompt + "\"\r\n"},
                  {"\"" + word + "\"\r\n", ""}}}},
       .at_server = {{"AUTHENTICATE \"PLAIN\"\r\n", "\"\"\r\n"},
                     {"\"" + theirs + "\"\r\n",
                      "\"SIEVE\" \"fileinto\"\r\n\"SASL\" \"PLAIN EXTERNAL\"\r\n\"STARTTLS\"\r\n"
                      "\"UNAUTHENTICATE\"\r\n\"XCLIENT\" \"ADDR\"\r\n{5}\r\nOWNER {3}\r\nann\r\n"
                      "OK (SASL \"cnNwYXV0aA==\") \"Welcome\"\r\n"}},
       .success = "\"SIEVE\" \"fileinto\"\r\n\"SASL\" \"PLAIN\"\r\n{5}\r\nOWNER {3}\r\nann\r\n"
                  "OK \"Logged in\"\r\n",
       .server_refuses = "NO \"Bad password\"\r\n",
       .refusal_code = "NO",
       .passed_refusal = "NO \"Bad password\"\r\n",
       .refusal = "NO \"Authentication failed\"\r\n",
       .unavailable = "NO (TRYLATER) \"",
       .unavailable_end = "\"\r\n",
       .passing = {"CAPABILITY\r\n", "NOOP\r\n", "NOOP \"x\"\r\n", "LOGOUT\r\n"},
       .others = {"LISTSCRIPTS\r\n", "PUTSCRIPT \"a\" {3+}\r\nabc\r\n", "NOOP {3+}\r\nabc\r\n",
                  "XCLIENT \"a\"\r\n", "UNAUTHENTICATE\r\n"},
       .required = "NO \"Log in first\"\r\n",
       .cancelled = "NO \"Authentication cancelled\"\r\n"});
  rows.push_back(
      {.protocol = "nntp",
       .greeting = "200 news.example\r\n",
       .list = {"CAPABILITIES\r\n",
                "101 list\r\nVERSION 2\r\nAUTHINFO USER SASL\r\nSASL PLAIN X-PLUS\r\nREADER\r\n"
                ".\r\n"},
       .edited_list = "101 list\r\nVERSION 2\r\nREADER\r\nAUTHINFO USER SASL\r\nSASL PLAIN\r\n"
                      ".\r\n",
       .ways = {{Mechanism::native,
                 {{"AUTHINFO USER scanner\r\n", "381 Password required\r\n"},
                  {"authinfo pass client-pw\r\n", ""}}},
                {Mechanism::plain, {{"AUTHINFO SASL PLAIN\r\n", "383 =\r\n"}, {ours + "\r\n", ""}}},
                {Mechanism::plain, {{"AUTHINFO SASL PLAIN " + ours + "\r\n", ""}}}},
       .at_server = {{"AUTHINFO SASL PLAIN\r\n", "383 =\r\n"},
                     {theirs + "\r\n", "281 Welcome\r\n"}},
       .success = "281 Authentication accepted\r\n",
       .server_refuses = "481 Bad password\r\n",
       .refusal_code = "481",
       .passed_refusal = "481 Bad password\r\n",
       .refusal = "481 Authentication failed\r\n",
       .unavailable = "403 ",
       .unavailable_end = "\r\n",
       .passing = {"CAPABILITIES\r\n", "MODE READER\r\n", "DATE\r\n", "HELP\r\n", "QUIT\r\n"},
       .others = {"GROUP a\r\n", "MODE STREAM\r\n", "POST\r\n", "XCLIENT a\r\n", "ARTICLE 1\r\n"},
       .required = "480 Authentication required\r\n",
       .cancelled = "481 Authentication cancelled\r\n"});
  return rows;
}

/// Returns the settings of a role for a client that logs in to the proxy.
inline proto::RoleSettings login_settings(TlsMode downstream = TlsMode::implicit) {
  return {.downstream = downstream,
          .upstream = TlsMode::starttls,
          .hostname = "proxy.example",
          .tag = "R4nd",
          .login = LoginWhen::client};
}

/// Knows one account: `kName` with `kPassword` logs in as `kUser` with `kSecret`.
inline Result<proto::Credentials> one_account(const proto::LoginRequest& request) {
  if (request.name != kName || request.password.reveal() != kPassword) {
    return fail(Errc::client_login, "wrong name or password");
  }
  return proto::Credentials{.user = std::string(kUser), .secret = Secret(kSecret)};
}

/// Passes on the name and the password of any client.
inline Result<proto::Credentials> passes_on(const proto::LoginRequest& request) {
  return proto::Credentials{.user = request.name, .secret = request.password, .passed_on = true};
}

/// Has no secret at hand.
inline Result<proto::Credentials> no_secret(const proto::LoginRequest&) {
  return fail(Errc::login, "the token has expired");
}

/// A client that has seen the greeting and a list.
class LoginClient : public DownstreamDialogue {
 public:
  explicit LoginClient(const ClientRow& row, Accounts accounts = one_account,
                       const proto::RoleSettings& settings = login_settings())
      : DownstreamDialogue(row.protocol, settings, row.greeting, std::move(accounts)), row_(row) {
    static_cast<void>(take_to_client());
    client(row.list.says).to_server(row.list.says).to_client("");
    server(row.list.answer).to_server("").to_client(row.edited_list);
  }

  /// Says what the client says to log in.
  LoginClient& says(const Way& way) {
    for (const auto& [says, answer] : way.steps) client(says).to_client(answer);
    return *this;
  }
  /// Plays our login at the server, in which it says `last` at the end.
  LoginClient& server_says(std::string_view last) {
    for (const auto& [says, answer] : row_.at_server) {
      to_server(says).to_client("");
      server(&answer == &row_.at_server.back().answer ? std::string(last) : answer);
    }
    return *this;
  }
  LoginClient& server_accepts() { return server_says(row_.at_server.back().answer); }

 private:
  const ClientRow& row_;
};

}  // namespace starttls::test
