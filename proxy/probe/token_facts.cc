#include "proxy/probe/token_facts.h"

#include <cstddef>
#include <initializer_list>

#include <nlohmann/json.hpp>

#include "lib/base/ascii.h"
#include "lib/base/jwt.h"

namespace starttls {
namespace {

using nlohmann::json;

constexpr std::size_t kMaxClaim = 256;
constexpr std::size_t kMaxClaims = 50;

/// Returns the object that a part of a token is. Discarded if it is none.
json object_in(const Secret& part) {
  auto object = json::parse(part.reveal(), nullptr, false);
  return object.is_object() ? object : json(json::value_t::discarded);
}

std::string text_claim(const json& claims, std::initializer_list<const char*> names) {
  for (const auto* const each : names) {
    const auto found = claims.find(each);
    if (found == claims.end() || !found->is_string()) continue;
    return ascii::printable(found->get_ref<const std::string&>(), kMaxClaim);
  }
  return {};
}

/// Returns the words of a claim that is a list, or a text with spaces.
std::vector<std::string> list_claim(const json& claims, std::initializer_list<const char*> names) {
  std::vector<std::string> list;
  const auto add = [&list](std::string_view word) {
    if (!word.empty() && list.size() < kMaxClaims) {
      list.push_back(ascii::printable(word, kMaxClaim));
    }
  };
  for (const auto* const each : names) {
    const auto found = claims.find(each);
    if (found == claims.end()) continue;
    if (found->is_string()) {
      const std::string_view text = found->get_ref<const std::string&>();
      for (auto rest = text; !rest.empty(); rest = ascii::after_first_word(rest)) {
        add(ascii::first_word(rest));
      }
    }
    if (!found->is_array()) continue;
    for (const auto& element : *found) {
      if (element.is_string()) add(element.get_ref<const std::string&>());
    }
  }
  return list;
}

/// Returns a time in seconds since 1970, which may have a fraction (RFC 7519 §2).
std::optional<UnixTime> time_claim(const json& claims, const char* name) {
  constexpr double kYear9999 = 253402300799;
  const auto found = claims.find(name);
  if (found == claims.end() || !found->is_number()) return std::nullopt;
  const auto seconds = found->get<double>();
  if (!(seconds >= 0 && seconds <= kYear9999)) return std::nullopt;
  return UnixTime{std::chrono::seconds{static_cast<std::int64_t>(seconds)}};
}

}  // namespace

TokenFacts read_token(std::string_view token) {
  const auto parts = split_jwt(token);
  if (!parts || object_in(parts->header).is_discarded()) return {};
  const auto claims = object_in(parts->claims);
  if (claims.is_discarded()) return {};
  return {.readable = true,
          .issued_at = time_claim(claims, "iat"),
          .not_before = time_claim(claims, "nbf"),
          .expires_at = time_claim(claims, "exp"),
          .audience = list_claim(claims, {"aud"}),
          .scope = list_claim(claims, {"scp", "scope"}),
          .roles = list_claim(claims, {"roles"}),
          .application = text_claim(claims, {"appid", "azp", "client_id"}),
          .user = text_claim(claims, {"upn", "preferred_username", "unique_name", "email"}),
          .issuer = text_claim(claims, {"iss"})};
}

}  // namespace starttls
