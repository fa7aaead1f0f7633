#include "proxy/probe/login_advice.h"

#include <algorithm>
#include <iterator>
#include <string_view>
#include <utility>

#include "lib/base/ascii.h"
#include "proxy/probe/times.h"

namespace starttls {
namespace {

using Sentences = std::vector<std::string>;

bool has_part(std::string_view text, std::string_view part) noexcept {
  const auto same = [](char a, char b) { return ascii::to_lower(a) == ascii::to_lower(b); };
  return std::search(text.begin(), text.end(), part.begin(), part.end(), same) != text.end();
}

bool has_word(const std::vector<std::string>& words, std::string_view word) {
  return std::any_of(words.begin(), words.end(),
                     [word](const auto& each) { return ascii::iequals(each, word); });
}

/// True if the server is one of Microsoft 365 or Outlook.com.
bool is_microsoft(const ProbeReport& report) noexcept {
  return has_part(report.server_name, "office365.") || has_part(report.server_name, "outlook.");
}

bool is_google(const ProbeReport& report) noexcept {
  return has_part(report.server_name, "gmail.com") || has_part(report.server_name, "google") ||
         has_part(report.login->text, "gsmtp");
}

// ---------------------------------------------------------------- no secret, no mechanism

/// Returns the advice for a token endpoint's error (RFC 6749 §5.2), which the source has passed on.
Sentences endpoint_advice(const ProbeReport& report) {
  const std::string words = report.error->reason + " " + report.error->evidence;
  if (has_part(words, "invalid_grant")) {
    return {
        "the permission to get tokens has ended (invalid_grant): the owner of the account must "
        "give it again: starttls-token authorize ACCOUNT"};
  }
  if (has_part(words, "invalid_client") || has_part(words, "unauthorized_client")) {
    return {
        "the token endpoint does not accept the application: check client_id, and that its "
        "secret or certificate has not expired"};
  }
  if (has_part(words, "invalid_scope")) {
    return {"the token endpoint does not know the scope: compare it with the provider's page"};
  }
  return {"put the secret where the settings expect it, as one line"};
}

Sentences not_offered_advice(const ProbeReport& report) {
  const auto& login = *report.login;
  const auto& list = login.mechanisms;
  const bool takes_tokens = has_word(list, "XOAUTH2") || has_word(list, "OAUTHBEARER");
  const bool takes_passwords = login.native || has_word(list, "PLAIN") || has_word(list, "LOGIN");
  if (login.wanted != Mechanism::automatic && (login.token ? takes_tokens : takes_passwords)) {
    return {"the server lists other mechanisms that fit: set login.mechanism = \"auto\""};
  }
  if (login.token) {
    return {"the server takes no tokens here: use a password, or another port of the provider"};
  }
  if (takes_tokens) {
    return {report.spelling == config::Spelling::keys
                ? "the server takes only OAuth tokens: set login.token = true, and give a source "
                  "of tokens"
                : "the server takes only OAuth tokens: give one, and --login-token"};
  }
  if (!list.empty()) {
    return {
        "the server lists only mechanisms that this program does not have: its operator must "
        "allow PLAIN or LOGIN inside TLS"};
  }
  return {
      "the server lists no login here: many servers take logins on another port (587 or 465, "
      "not 25), or from permitted addresses only"};
}

// ---------------------------------------------------------------- 535 5.7.139

/// Returns the advice for the code by which Microsoft 365 says that a login is not permitted at
/// all. One code has several causes; only the text says which.
Sentences switched_off_advice(const ProbeReport& report) {
  const auto& text = report.login->text;
  const std::string mailbox = "for the mailbox: Set-CASMailbox -Identity " +
                              ascii::printable(report.login->user) +
                              " -SmtpClientAuthenticationDisabled $false";
  const std::string tenant =
      "for the whole tenant: Set-TransportConfig -SmtpClientAuthenticationDisabled $false";
  const std::string rule =
      "5.7.139: an administrator of the tenant must permit SMTP AUTH; tokens need that, too, and "
      "another password does not help";
  if (has_part(text, "security defaults")) {
    return {
        "5.7.139: the tenant's security defaults forbid this login: in the Microsoft Entra "
        "admin center, replace them by conditional access, or use a token"};
  }
  if (has_part(text, "basic authentication is disabled") || has_part(text, "criteria")) {
    return {
        "5.7.139: the tenant does not accept passwords for this mailbox: use a token "
        "(login.token), or have an authentication policy permit them"};
  }
  if (has_part(text, "credentials were incorrect")) {
    return {"5.7.139: the name or the password is wrong"};
  }
  if (has_part(text, "mailbox")) return {rule, mailbox};
  if (has_part(text, "tenant")) return {rule, tenant, "or " + mailbox};
  return {rule, tenant, mailbox};
}

bool is_5_7_139(const LoginFacts& login) noexcept {
  return login.code == "535" && ascii::first_word(login.text) == "5.7.139";
}

// ---------------------------------------------------------------- tokens

/// The permissions that Microsoft wants for a protocol.
struct Permissions {
  std::string_view scope;  ///< given by a person
  std::string_view role;   ///< of an application
};

Permissions permissions_for(std::string_view protocol) noexcept {
  if (protocol == "imap") return {"IMAP.AccessAsUser.All", "IMAP.AccessAsApp"};
  if (protocol == "pop3") return {"POP.AccessAsUser.All", "POP.AccessAsApp"};
  return {"SMTP.Send", "SMTP.SendAsApp"};
}

/// True if the token is for Microsoft's mail servers.
bool is_for_outlook(const TokenFacts& token) {
  return std::any_of(token.audience.begin(), token.audience.end(), [](const auto& each) {
    return has_part(each, "outlook.office") || each == "00000002-0000-0ff1-ce00-000000000000";
  });
}

/// Adds what is wrong with a token for Microsoft 365: its audience, its scope, its application.
void add_microsoft_faults(const ProbeReport& report, Sentences& found) {
  const auto& token = report.login->token_facts;
  const auto wanted = permissions_for(report.protocol);
  if (!token.audience.empty() && !is_for_outlook(token)) {
    found.push_back("the token is for another audience (" + token.audience.front() +
                    "): ask for the scope https://outlook.office365.com/" +
                    std::string(wanted.scope) +
                    "; an application of its own asks for "
                    "https://outlook.office365.com/.default");
    return;
  }
  const bool permitted = has_word(token.scope, wanted.scope) || has_word(token.roles, wanted.role);
  if (!permitted) {
    found.push_back("the token lacks the permission for " + report.protocol +
                    ": it needs the scope " + std::string(wanted.scope) + ", or the role " +
                    std::string(wanted.role));
  } else if (token.scope.empty()) {
    found.push_back(
        "an application needs a right to the mailbox: New-ServicePrincipal, then "
        "Add-MailboxPermission in Exchange Online");
  }
}

/// Returns what the claims of a token show to be wrong with it.
Sentences token_faults(const ProbeReport& report) {
  const auto& login = *report.login;
  const auto& token = login.token_facts;
  Sentences found;
  if (token.expires_at && *token.expires_at <= report.time) {
    found.push_back("the token expired on " + time_text(token.expires_at) +
                    ": get a fresh one, and see why its source keeps an old one");
  }
  if (token.not_before && *token.not_before > report.time) {
    found.push_back("the token is valid from " + time_text(token.not_before) +
                    ": compare the clocks of this machine and of its issuer");
  }
  if (token.readable && is_microsoft(report)) add_microsoft_faults(report, found);
  if (!token.user.empty() && !ascii::iequals(token.user, login.user)) {
    found.push_back("the token is of " + token.user + ", and the login is as " +
                    ascii::escape(login.user) +
                    ": that needs full access to the other mailbox, or a token of its own");
  }
  return found;
}

Sentences token_advice(const ProbeReport& report) {
  auto found = token_faults(report);
  if (!found.empty()) return found;
  if (!report.login->token_facts.readable) {
    return {
        "the server does not accept the token: it may have expired, or lack the scope for "
        "mail, or be of another account: get a fresh one"};
  }
  std::string audience = "no audience";
  if (!report.login->token_facts.audience.empty()) {
    audience = "the audience " + report.login->token_facts.audience.front();
  }
  return {
      "the token is not expired, so its audience, its scope or its account is wrong for this "
      "server: it has " +
      audience};
}

// ---------------------------------------------------------------- other refusals

/// True if the server says that it may accept the same login later (RFC 4954 §6, RFC 5530 §3, RFC
/// 3206 §4, RFC 5804 §1.3).
bool is_temporary(const LoginFacts& login) noexcept {
  constexpr std::string_view kCodes[] = {"400", "403", "421", "432", "450", "451", "454"};
  constexpr std::string_view kWords[] = {"[UNAVAILABLE]", "[INUSE]",  "[LIMIT]",
                                         "[SYS/TEMP]",    "[IN-USE]", "[LOGIN-DELAY]",
                                         "(TRYLATER)"};
  const auto is_one_of = [](std::string_view word, auto& words) {
    return std::any_of(std::begin(words), std::end(words),
                       [word](std::string_view each) { return ascii::iequals(word, each); });
  };
  return is_one_of(login.code, kCodes) || is_one_of(ascii::first_word(login.text), kWords);
}

Sentences password_advice(const ProbeReport& report) {
  if (is_google(report)) {
    return {
        "Google wants an app password here, or a token: the password of the account itself "
        "does not do"};
  }
  if (is_microsoft(report)) {
    return {
        "Microsoft 365 takes passwords on few mailboxes only: use a token (login.token), or "
        "compare the name and the password"};
  }
  return {
      "compare the name and the password with the provider's: many providers want an app "
      "password instead of the account's own"};
}

Sentences refused_advice(const ProbeReport& report) {
  const auto& login = *report.login;
  if (is_5_7_139(login)) return switched_off_advice(report);
  if (is_temporary(login)) return {"the server calls this temporary: try again later"};
  return login.token ? token_advice(report) : password_advice(report);
}

}  // namespace

std::vector<std::string> login_advice(const ProbeReport& report) {
  switch (report.login->outcome) {
    case LoginOutcome::no_secret:
      return endpoint_advice(report);
    case LoginOutcome::not_offered:
      return not_offered_advice(report);
    case LoginOutcome::refused:
      return refused_advice(report);
    case LoginOutcome::not_tried:
    case LoginOutcome::unanswered:
    case LoginOutcome::succeeded:
      break;
  }
  return {};
}

}  // namespace starttls
