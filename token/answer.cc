#include "token/answer.h"

#include <algorithm>
#include <string_view>
#include <utility>

#include "lib/base/ascii.h"
#include "token/json.h"

namespace starttls::token {
namespace {

using std::chrono::seconds;

/// An error code and the words for a person.
struct KnownError {
  std::string_view code;
  Exit status;
  std::string_view meaning;
};

constexpr KnownError kKnownErrors[] = {
    // RFC 6749 §5.2.
    {"invalid_request", Exit::config, "the endpoint does not understand the request"},
    {"invalid_client", Exit::config, "client_id, or the client's secret or key, is wrong"},
    {"invalid_grant", Exit::permission, "the grant has expired, or was revoked"},
    {"unauthorized_client", Exit::config, "the client may not use this kind of grant"},
    {"unsupported_grant_type", Exit::config, "the endpoint does not know this kind of grant"},
    {"invalid_scope", Exit::config, "the scope is wrong, or not allowed"},
    // RFC 6749 §4.1.2.1.
    {"access_denied", Exit::permission, "the request was refused"},
    {"unsupported_response_type", Exit::config, "the provider does not offer this kind of flow"},
    {"server_error", Exit::temporary, "the provider has an error"},
    {"temporarily_unavailable", Exit::temporary, "the provider is overloaded or in maintenance"},
    // RFC 8628 §3.5.
    {"authorization_pending", Exit::temporary, "no person has confirmed the code yet"},
    {"slow_down", Exit::temporary, "too many requests"},
    {"expired_token", Exit::permission, "the code was not confirmed in time"},
    // OpenID Connect Core §3.1.2.6, used by Microsoft for conditional access.
    {"interaction_required", Exit::permission, "a person must log in again"},
    {"login_required", Exit::permission, "a person must log in again"},
    {"consent_required", Exit::permission, "a person must consent again"},
};

constexpr long kTooManyRequests = 429;
constexpr long kServerError = 500;
constexpr std::size_t kMaxErrorCode = 64;

bool is_json(std::string_view content_type) noexcept {
  const auto type = ascii::trim(content_type.substr(0, content_type.find(';')));
  return ascii::iequals(type, "application/json") || ascii::iends_with(type, "+json");
}

/// True for the characters that tokens and codes consist of (RFC 6749 appendix A: VSCHAR). A token
/// with a line break could add commands to a session of the proxy.
bool is_token_text(std::string_view text) noexcept {
  return !text.empty() && std::all_of(text.begin(), text.end(), ascii::is_printable);
}

/// Describes an answer that is not one of OAuth.
Failure strange(const Response& response, std::string_view what) {
  std::string reason = "the endpoint answered with HTTP status " + std::to_string(response.status) +
                       " and " + std::string(what);
  if (response.status >= 300 && response.status < 400) {
    reason += "; redirects are not followed: is the address of the endpoint right?";
  }
  return {Exit::protocol, std::move(reason)};
}

/// Returns the object of an answer with status 200, or the failure that the answer means.
Outcome<JsonObject> read_object(const Response& response, const Form& sent) {
  const bool overloaded = response.status == kTooManyRequests || response.status >= kServerError;
  auto object = is_json(response.content_type) ? JsonObject::parse(response.body.reveal())
                                               : std::optional<JsonObject>{};

  std::optional<std::string> code;
  if (object) code = object->text("error");
  if (response.status == 200 && object && !code && !object->has("error")) {
    return std::move(*object);
  }

  Failure failure{Exit::protocol, {}};
  if (code) {
    failure = oauth_failure(*code, object->text("error_description").value_or(""), sent);
    if (overloaded) failure.reason += " (HTTP status " + std::to_string(response.status) + ")";
  } else if (!is_json(response.content_type)) {
    failure = strange(response, response.content_type.empty()
                                    ? "no content type, not with JSON"
                                    : ascii::escape(response.content_type) + ", not with JSON");
  } else {
    failure = strange(response, object ? "JSON of another kind" : "text that is no JSON object");
  }
  if (overloaded) {
    failure.status = Exit::temporary;
    if (response.retry_after) {
      failure.reason +=
          "; it may be asked again in " + std::to_string(response.retry_after->count()) + " s";
    }
  }
  failure.retry_after = response.retry_after;
  return failed(std::move(failure));
}

Failure unusable(std::string_view what) {
  return {Exit::protocol, "the endpoint's answer is unusable: " + std::string(what)};
}

}  // namespace

Failure oauth_failure(std::string_view code, std::string_view description, const Form& sent) {
  const auto* const known =
      std::find_if(std::begin(kKnownErrors), std::end(kKnownErrors),
                   [code](const KnownError& each) { return each.code == code; });
  const bool is_known = known != std::end(kKnownErrors);
  Failure failure{is_known ? known->status : Exit::protocol, {}};
  failure.oauth_error = is_known ? std::string(code) : std::string();
  failure.reason =
      is_known ? std::string(code)
               : "the provider reports an error that OAuth does not know: '" +
                     (sent.leaks_into(code) ? "..." : ascii::escape(code, kMaxErrorCode)) + "'";
  if (is_known) failure.reason += ": " + std::string(known->meaning);
  if (!description.empty() && !sent.leaks_into(description)) {
    failure.reason += "; the provider says: " + ascii::escape(description, 400);
  }
  return failure;
}

Outcome<Grant> read_grant(const Response& response, const Form& sent) {
  auto object = read_object(response, sent);
  if (!object) return failed(std::move(object.error()));

  Grant grant;
  auto access_token = object->secret("access_token");
  if (!access_token) return failed(unusable("it has no access_token"));
  if (access_token->reveal().size() > kMaxAccessToken) {
    return failed(unusable("the access token has more than 9000 bytes"));
  }
  if (!is_token_text(access_token->reveal())) {
    return failed(unusable("the access token is empty or has characters that none may have"));
  }
  grant.access_token = std::move(*access_token);
  if (const auto type = object->text("token_type"); type && !ascii::iequals(*type, "bearer")) {
    return failed(
        unusable("its token_type is '" + ascii::escape(*type, kMaxErrorCode) + "', not Bearer"));
  }
  if (auto refresh = object->secret("refresh_token"); refresh && !refresh->empty()) {
    if (!is_token_text(refresh->reveal()) || refresh->reveal().size() > kMaxRefreshToken) {
      return failed(unusable("the refresh token is too long or has characters that none may have"));
    }
    grant.refresh_token = std::move(*refresh);
  }
  if (const auto lifetime = object->number("expires_in")) {
    constexpr std::int64_t kMostSeconds = 10LL * 365 * 24 * 3600;
    grant.lifetime = seconds{std::min(*lifetime, kMostSeconds)};
  }
  grant.scope = ascii::printable(object->text("scope").value_or(""));
  return grant;
}

Outcome<DeviceCode> read_device_code(const Response& response, const Form& sent) {
  auto object = read_object(response, sent);
  if (!object) return failed(std::move(object.error()));

  auto device_code = object->secret("device_code");
  const auto user_code = object->text("user_code");
  auto address = object->text("verification_uri");
  if (!address) address = object->text("verification_url");  // Google's name
  if (!device_code || !user_code || !address) {
    return failed(unusable("device_code, user_code or verification_uri is missing"));
  }
  const auto complete = object->text("verification_uri_complete");
  // These go to a terminal and to a form.
  if (!is_token_text(device_code->reveal()) || !is_token_text(*user_code) ||
      !is_token_text(*address) || user_code->size() > kMaxErrorCode ||
      (complete && !is_token_text(*complete))) {
    return failed(unusable("a code or an address in it has characters that none may have"));
  }
  // RFC 8628 §3.2: without interval, 5 seconds. The bounds keep a wrong answer from blocking.
  constexpr std::int64_t kDefaultInterval = 5;
  constexpr std::int64_t kMaxInterval = 60;
  constexpr std::int64_t kMaxLifetime = 3600;
  const auto lifetime = object->number("expires_in").value_or(900);
  const auto interval = object->number("interval").value_or(kDefaultInterval);
  return DeviceCode{.device_code = std::move(*device_code),
                    .user_code = *user_code,
                    .address = *address,
                    .complete_address = complete.value_or(""),
                    .lifetime = seconds{std::min(lifetime, kMaxLifetime)},
                    .interval = seconds{std::clamp<std::int64_t>(interval, 1, kMaxInterval)}};
}

}  // namespace starttls::token
