#include "proxy/probe/login_facts.h"

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdlib>
#include <optional>

#include <nlohmann/json.hpp>

#include "lib/base/ascii.h"
#include "lib/base/utc.h"
#include "proxy/probe/times.h"

namespace starttls {
namespace {

using nlohmann::json;
using std::chrono::seconds;

/// Returns a span of time for people, in its largest unit.
std::string span_text(seconds span) {
  struct Unit {
    seconds length;
    const char* name;
  };
  constexpr Unit kUnits[] = {{std::chrono::hours{24}, "day"},
                             {std::chrono::hours{1}, "hour"},
                             {std::chrono::minutes{1}, "minute"},
                             {seconds{1}, "second"}};
  const auto length = std::chrono::abs(span);
  for (const auto& unit : kUnits) {
    const auto count = length / unit.length;
    if (count == 0 && unit.length > seconds{1}) continue;
    return std::to_string(count) + " " + unit.name + (count == 1 ? "" : "s");
  }
  return {};
}

/// Returns a moment for people, and how far it is.
std::string moment_text(UnixTime time, UnixTime now) {
  const auto until = time.since_1970 - now.since_1970;
  const auto span = span_text(until);
  return time_text(time) + (until < seconds{0} ? ", " + span + " ago" : ", in " + span);
}

std::string joined(const std::vector<std::string>& words) {
  std::string text;
  for (const auto& word : words) text += (text.empty() ? "" : " ") + word;
  return text;
}

std::string offer_text(const LoginFacts& login) {
  auto text = joined(login.mechanisms);
  if (login.native)
    text += text.empty() ? "only the protocol's own login" : ", and the protocol's own login";
  return text.empty() ? "none" : text;
}

json token_json(const TokenFacts& token, UnixTime now) {
  const auto time = [](const std::optional<UnixTime>& each) {
    return each ? json(rfc3339(*each)) : json();
  };
  const auto distance = [now](const std::optional<UnixTime>& from, int sign) {
    return from ? json(sign * (from->since_1970 - now.since_1970).count()) : json();
  };
  const auto text = [](const std::string& each) { return each.empty() ? json() : json(each); };
  return {{"readable", token.readable},
          {"issued_at", time(token.issued_at)},
          {"age_seconds", distance(token.issued_at, -1)},
          {"not_before", time(token.not_before)},
          {"expires_at", time(token.expires_at)},
          {"expires_in_seconds", distance(token.expires_at, 1)},
          {"audience", token.audience},
          {"scope", token.scope},
          {"roles", token.roles},
          {"application", text(token.application)},
          {"user", text(token.user)},
          {"issuer", text(token.issuer)}};
}

}  // namespace

std::string_view name(LoginOutcome outcome) noexcept {
  switch (outcome) {
    case LoginOutcome::not_tried:
      return "not_tried";
    case LoginOutcome::no_secret:
      return "no_secret";
    case LoginOutcome::not_offered:
      return "not_offered";
    case LoginOutcome::unanswered:
      return "unanswered";
    case LoginOutcome::refused:
      return "refused";
    case LoginOutcome::succeeded:
      return "succeeded";
  }
  return "not_tried";
}

std::vector<std::string> listed_mechanisms(const proto::LoginOffer& offer) {
  constexpr std::size_t kMaxMechanisms = 50;
  constexpr std::size_t kMaxName = 40;
  std::vector<std::string> names;
  for (const auto& each : offer.mechanisms) {
    auto text = ascii::printable(each, kMaxName);
    if (std::find(names.begin(), names.end(), text) != names.end()) continue;
    if (names.size() == kMaxMechanisms) break;
    names.push_back(std::move(text));
  }
  return names;
}

std::vector<std::pair<std::string, std::string>> login_lines(const LoginFacts& login,
                                                             UnixTime now) {
  std::vector<std::pair<std::string, std::string>> lines;
  const auto add = [&lines](const char* label, std::string text) {
    if (!text.empty()) lines.emplace_back(label, std::move(text));
  };
  const auto row = login.account.empty() || login.account == login.user
                       ? std::string{}
                       : " (account " + ascii::escape(login.account) + ")";
  add("login as", ascii::escape(login.user) + row);
  if (login.token) {
    const auto& token = login.token_facts;
    add("token", token.readable ? "a JWT" : "no JWT: only its issuer can read it");
    if (token.issued_at) add("  issued", moment_text(*token.issued_at, now));
    if (token.not_before && token.not_before != token.issued_at) {
      add("  valid from", moment_text(*token.not_before, now));
    }
    if (token.expires_at) {
      add(*token.expires_at <= now ? "  expired" : "  expires",
          moment_text(*token.expires_at, now));
    }
    add("  audience", joined(token.audience));
    add("  scope", joined(token.scope));
    add("  roles", joined(token.roles));
    add("  application", token.application);
    add("  user", token.user);
    add("  issuer", token.issuer);
  }
  if (login.outcome == LoginOutcome::not_tried || login.outcome == LoginOutcome::no_secret) {
    add("login", "not tried");
    return lines;
  }
  add("mechanisms", offer_text(login));
  if (login.used == Mechanism::automatic) return lines;
  add("login by",
      login.used == Mechanism::native ? "the protocol's own login" : std::string(name(login.used)));
  if (!login.code.empty()) {
    add("answer", ascii::printable(login.code + " " + login.text, 1000) +
                      (login.status.empty() ? "" : " (status " + login.status + ")"));
  }
  return lines;
}

json login_json(const LoginFacts& login, UnixTime now) {
  const auto text = [](std::string_view each) { return each.empty() ? json() : json(each); };
  return {{"account", text(login.account)},
          {"user", login.user},
          {"outcome", name(login.outcome)},
          {"mechanisms", login.mechanisms},
          {"native", login.native},
          {"mechanism", text(login.used == Mechanism::automatic ? "" : name(login.used))},
          {"code", text(login.code)},
          {"text", text(login.text)},
          {"status", text(login.status)},
          {"token", login.token ? token_json(login.token_facts, now) : json()}};
}

}  // namespace starttls
