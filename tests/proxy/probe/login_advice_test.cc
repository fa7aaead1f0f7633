#include "proxy/probe/login_advice.h"

#include <string>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include "proxy/probe/advice.h"
#include "tests/proxy/probe/advice_text.h"
#include "tests/support/catch.h"

using namespace starttls;
using Catch::Matchers::ContainsSubstring;

namespace {

constexpr UnixTime kProbedAt{std::chrono::seconds{1767225600}};  // 2026-01-01 00:00:00

constexpr UnixTime later(std::chrono::seconds span) {
  return {kProbedAt.since_1970 + span};
}

/// Returns a report of a login that ended like this.
ProbeReport report_of(LoginFacts login, Errc code = Errc::login) {
  ProbeReport report;
  report.time = kProbedAt;
  report.protocol = "smtp";
  report.tls = "starttls";
  report.verify = "full";
  report.server_name = "mail.test";
  report.peer = "192.0.2.1:587";
  report.facts = tls::Facts{};
  report.login = std::move(login);
  report.error = Error{code, "why", "words"};
  report.state = "login";
  return report;
}

LoginFacts refusal(std::string code, std::string text) {
  return {.user = "scan@example.com",
          .mechanisms = {"PLAIN", "LOGIN"},
          .used = Mechanism::plain,
          .outcome = LoginOutcome::refused,
          .code = std::move(code),
          .text = std::move(text)};
}

LoginFacts token_refusal(TokenFacts token) {
  auto login = refusal("535", "5.7.3 Authentication unsuccessful");
  login.mechanisms = {"XOAUTH2"};
  login.used = Mechanism::xoauth2;
  login.token = true;
  login.token_facts = std::move(token);
  return login;
}

TokenFacts outlook_token() {
  return {.readable = true,
          .issued_at = later(std::chrono::minutes{-12}),
          .expires_at = later(std::chrono::minutes{48}),
          .audience = {"https://outlook.office365.com"},
          .scope = {"SMTP.Send"},
          .application = "4711",
          .user = "scan@example.com"};
}

ProbeReport at_microsoft(LoginFacts login) {
  auto report = report_of(std::move(login));
  report.server_name = "smtp.office365.com";
  return report;
}

}  // namespace

TEST_CASE("login advice: 5.7.139 has several causes, and the text tells which", "[probe][login]") {
  const auto on = [](const std::string& text) {
    return advice_text(report_of(refusal("535", "5.7.139 Authentication unsuccessful, " + text)));
  };
  const auto tenant = on("SmtpClientAuthentication is disabled for the Tenant. Visit https://x");
  CHECK_THAT(tenant,
             ContainsSubstring("5.7.139: an administrator of the tenant must permit SMTP AUTH") &&
                 ContainsSubstring("another password does not help") &&
                 ContainsSubstring("Set-TransportConfig -SmtpClientAuthenticationDisabled $false"));
  const auto mailbox = on("SmtpClientAuthentication is disabled for the Mailbox.");
  CHECK_THAT(mailbox, ContainsSubstring("Set-CASMailbox -Identity scan@example.com "
                                        "-SmtpClientAuthenticationDisabled $false") &&
                          !ContainsSubstring("Set-TransportConfig"));
  CHECK_THAT(on("user is locked by your organization's security defaults policy."),
             ContainsSubstring("security defaults forbid"));
  CHECK_THAT(on("basic authentication is disabled."), ContainsSubstring("use a token"));
  CHECK_THAT(on("the request did not meet the criteria to be authenticated successfully."),
             ContainsSubstring("use a token"));
  CHECK_THAT(on("the user credentials were incorrect."), ContainsSubstring("password is wrong"));
  CHECK_THAT(on("something new"), ContainsSubstring("Set-CASMailbox"));
  // Only this code means it.
  CHECK_THAT(advice_text(report_of(refusal("535", "5.7.8 is disabled for the Tenant"))),
             !ContainsSubstring("5.7.139"));
}

TEST_CASE("login advice: a token's claims show what is wrong with it", "[probe][login]") {
  const auto on = [](const TokenFacts& token) {
    return advice_text(at_microsoft(token_refusal(token)));
  };
  auto token = outlook_token();
  token.expires_at = later(std::chrono::minutes{-3});
  CHECK_THAT(on(token), ContainsSubstring("the token expired on 2025-12-31 23:57:00 UTC"));

  token = outlook_token();
  token.not_before = later(std::chrono::minutes{5});
  CHECK_THAT(on(token), ContainsSubstring("compare the clocks"));

  token = outlook_token();
  token.audience = {"https://graph.microsoft.com"};
  CHECK_THAT(on(token), ContainsSubstring("another audience (https://graph.microsoft.com)") &&
                            ContainsSubstring("https://outlook.office365.com/SMTP.Send") &&
                            ContainsSubstring("https://outlook.office365.com/.default"));

  token = outlook_token();
  token.scope = {"IMAP.AccessAsUser.All"};
  CHECK_THAT(on(token), ContainsSubstring("lacks the permission for smtp") &&
                            ContainsSubstring("scope SMTP.Send, or the role SMTP.SendAsApp"));

  token = outlook_token();
  token.scope.clear();
  token.roles = {"SMTP.SendAsApp"};
  CHECK_THAT(on(token), ContainsSubstring("New-ServicePrincipal"));

  token = outlook_token();
  token.user = "admin@example.com";
  CHECK_THAT(on(token), ContainsSubstring("the token is of admin@example.com"));

  CHECK_THAT(on(outlook_token()), ContainsSubstring("the token is not expired") &&
                                      ContainsSubstring("https://outlook.office365.com"));
  CHECK_THAT(on({}), ContainsSubstring("get a fresh one"));
}

TEST_CASE("login advice: each protocol has its own permission at Microsoft", "[probe][login]") {
  for (const auto& [protocol, scope] :
       {std::pair{"imap", "IMAP.AccessAsUser.All"}, std::pair{"pop3", "POP.AccessAsUser.All"}}) {
    auto report = at_microsoft(token_refusal(outlook_token()));
    report.protocol = protocol;
    CHECK_THAT(advice_text(report), ContainsSubstring(scope));
    report.login->token_facts.scope = {scope};
    CHECK_THAT(advice_text(report), !ContainsSubstring("lacks the permission"));
  }
}

TEST_CASE("login advice: another server's token is not measured by Microsoft's rules",
          "[probe][login]") {
  auto token = outlook_token();
  token.audience = {"mail-client"};
  token.scope = {"mail"};
  CHECK_THAT(advice_text(report_of(token_refusal(token))),
             ContainsSubstring("it has the audience mail-client"));
}

TEST_CASE("login advice: the list shows why no mechanism fits", "[probe][login]") {
  const auto on = [](LoginFacts login, config::Spelling spelling = config::Spelling::keys) {
    login.outcome = LoginOutcome::not_offered;
    auto report = report_of(std::move(login));
    report.spelling = spelling;
    CHECK(exit_status(report) == 76);
    return advice_text(report);
  };
  CHECK_THAT(on({.mechanisms = {"XOAUTH2"}}), ContainsSubstring("login.token = true"));
  CHECK_THAT(on({.mechanisms = {"OAUTHBEARER"}}, config::Spelling::flags),
             ContainsSubstring("--login-token"));
  CHECK_THAT(on({.token = true, .mechanisms = {"PLAIN"}}), ContainsSubstring("takes no tokens"));
  CHECK_THAT(on({.mechanisms = {"CRAM-MD5"}}), ContainsSubstring("PLAIN or LOGIN inside TLS"));
  CHECK_THAT(on({}), ContainsSubstring("lists no login here"));
  CHECK_THAT(on({.wanted = Mechanism::plain, .mechanisms = {"LOGIN"}}),
             ContainsSubstring("login.mechanism = \"auto\""));
  CHECK_THAT(on({.wanted = Mechanism::oauthbearer, .token = true, .mechanisms = {"XOAUTH2"}}),
             ContainsSubstring("login.mechanism = \"auto\""));
}

TEST_CASE("login advice: a source's error is explained", "[probe][login]") {
  const auto on = [](std::string words) {
    auto report = report_of({.user = "box", .outcome = LoginOutcome::no_secret});
    report.error->reason = std::move(words);
    CHECK(exit_status(report) == 77);
    return advice_text(report);
  };
  CHECK_THAT(on("an error: invalid_grant"), ContainsSubstring("starttls-token authorize"));
  CHECK_THAT(on("invalid_client"), ContainsSubstring("client_id"));
  CHECK_THAT(on("invalid_scope"), ContainsSubstring("scope"));
  CHECK_THAT(on("no such file"), ContainsSubstring("as one line"));
}

TEST_CASE("login advice: other refusals", "[probe][login]") {
  for (const auto& [code, text] :
       {std::pair{"454", "4.7.0 later"}, std::pair{"NO", "[UNAVAILABLE] later"},
        std::pair{"-ERR", "[SYS/TEMP] later"}, std::pair{"NO", "(TRYLATER) \"later\""}}) {
    CHECK_THAT(advice_text(report_of(refusal(code, text))), ContainsSubstring("temporary"));
  }
  for (const auto* code : {"481", "535", "NO", "-ERR"}) {
    CHECK_THAT(advice_text(report_of(refusal(code, "no"))), ContainsSubstring("app password"));
  }
  CHECK_THAT(advice_text(report_of(refusal("535", "5.7.8 BadCredentials x - gsmtp"))),
             ContainsSubstring("Google wants an app password"));
  CHECK_THAT(advice_text(at_microsoft(refusal("535", "5.7.3 Authentication unsuccessful"))),
             ContainsSubstring("use a token"));
}

TEST_CASE("login facts: the text shows the exchange", "[probe][login]") {
  auto login = token_refusal(outlook_token());
  login.account = "scanner";
  login.status = "401";
  const auto report = report_of(login);
  CHECK_THAT(to_text(report),
             ContainsSubstring("login as       scan@example.com (account scanner)\n"
                               "token          a JWT\n"
                               "  issued       2025-12-31 23:48:00 UTC, 12 minutes ago\n"
                               "  expires      2026-01-01 00:48:00 UTC, in 48 minutes\n"
                               "  audience     https://outlook.office365.com\n"
                               "  scope        SMTP.Send\n"
                               "  application  4711\n"
                               "  user         scan@example.com\n"
                               "mechanisms     XOAUTH2\n"
                               "login by       xoauth2\n"
                               "answer         535 5.7.3 Authentication unsuccessful (status 401)\n"
                               "verdict        refused: why\n"
                               "what to do     "));
  CHECK(exit_status(report) == 77);
}

TEST_CASE("login facts: the verdict of a success names the login", "[probe][login]") {
  auto report = report_of(refusal("235", "2.7.0 welcome"));
  report.login->outcome = LoginOutcome::succeeded;
  report.error.reset();
  CHECK_THAT(to_text(report),
             ContainsSubstring("answer         235 2.7.0 welcome\n"
                               "verdict        accepted: encrypted, and verified as mail.test; "
                               "the server accepts the login as scan@example.com\n"));
  CHECK(exit_status(report) == 0);
}

TEST_CASE("login facts: a login that was not tried", "[probe][login]") {
  const auto report = report_of({.user = "box"}, Errc::timeout);
  CHECK_THAT(to_text(report), ContainsSubstring("login as       box\nlogin          not tried\n"));
  CHECK(exit_status(report) == 69);
}

TEST_CASE("login facts: the JSON always has all fields", "[probe][login][json]") {
  const auto login_of = [](const ProbeReport& report) {
    return nlohmann::json::parse(to_json(report))["login"];
  };
  ProbeReport without;
  CHECK(login_of(without).is_null());

  const auto full = login_of(report_of(token_refusal(outlook_token())));
  const auto empty = login_of(report_of({}));
  CHECK(full.size() == empty.size());
  for (const auto& [key, value] : full.items()) CHECK(empty.contains(key));
  CHECK(full["outcome"] == "refused");
  CHECK(full["mechanism"] == "xoauth2");
  CHECK(full["account"].is_null());
  CHECK(full["token"]["age_seconds"] == 720);
  CHECK(full["token"]["expires_in_seconds"] == 2880);
  CHECK(full["token"]["expires_at"] == "2026-01-01T00:48:00Z");
  CHECK(full["token"]["not_before"].is_null());
  CHECK(empty["token"].is_null());
  CHECK(empty["outcome"] == "not_tried");
  const auto report = nlohmann::json::parse(to_json(report_of(refusal("535", "no"))));
  CHECK(report["kind"] == "login");
  CHECK(report["verdict"] == "refused");
}

TEST_CASE("login facts: mechanisms are listed once, printable", "[probe][login]") {
  proto::LoginOffer offer;
  offer.mechanisms = {"PLAIN", "LOGIN", "PLAIN", "X\x1b[31m"};
  CHECK(listed_mechanisms(offer) == std::vector<std::string>{"PLAIN", "LOGIN", "X[31m"});
  for (int i = 0; i < 200; ++i) offer.mechanisms.push_back(std::to_string(i));
  CHECK(listed_mechanisms(offer).size() == 50);
}
