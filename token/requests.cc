#include "token/requests.h"

#include <cstdint>
#include <span>
#include <string_view>
#include <utility>

#include <nlohmann/json.hpp>

#include "lib/base/random.h"
#include "token/crypto.h"

namespace starttls::token {
namespace {

std::string encoded(std::string_view text) {
  return base64url({reinterpret_cast<const std::uint8_t*>(text.data()), text.size()});
}

Outcome<> add_client(Form& form, const Client& client, UnixTime now) {
  form.add("client_id", client.client_id);
  if (!client.key.empty()) {
    auto assertion = client_assertion(client, now, random_token());
    if (!assertion) return failed(std::move(assertion.error()));
    form.add("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer");
    const Secret secret{*assertion};
    wipe(*assertion);
    form.add("client_assertion", secret);
  } else if (!client.client_secret.empty()) {
    form.add("client_secret", client.client_secret);
  }
  return {};
}

Outcome<Form> finished(Form form, const Client& client, UnixTime now) {
  if (auto added = add_client(form, client, now); !added) return failed(std::move(added.error()));
  return form;
}

}  // namespace

Outcome<std::string> client_assertion(const Client& client, UnixTime now, const std::string& id) {
  using nlohmann::json;
  constexpr std::int64_t kLifetime = 600;
  constexpr std::int64_t kClockSkew = 60;

  const auto algorithm = algorithm_for(client.key.reveal(), client.algorithm);
  if (!algorithm) return failed(algorithm.error());
  const auto digest = certificate_digest(client.certificate, client.key.reveal());
  if (!digest) return failed(digest.error());
  const std::int64_t seconds = now.since_1970.count();
  const json head = {{"alg", name(*algorithm)}, {"typ", "JWT"}, {"x5t#S256", base64url(*digest)}};
  const json claims = {{"aud", client.token_url},
                       {"iss", client.client_id},
                       {"sub", client.client_id},
                       {"jti", id},
                       {"iat", seconds},
                       {"nbf", seconds - kClockSkew},
                       {"exp", seconds + kLifetime}};
  constexpr auto kReplace = json::error_handler_t::replace;
  std::string text = encoded(head.dump(-1, ' ', true, kReplace)) + "." +
                     encoded(claims.dump(-1, ' ', true, kReplace));
  const auto signature = sign(client.key.reveal(), *algorithm, text);
  if (!signature) return failed(signature.error());
  return text + "." + base64url(*signature);
}

Outcome<Form> client_credentials_form(const Client& client, UnixTime now) {
  Form form;
  form.add("grant_type", "client_credentials");
  if (!client.scope.empty()) form.add("scope", client.scope);
  return finished(std::move(form), client, now);
}

Outcome<Form> refresh_form(const Client& client, const Secret& refresh_token, UnixTime now) {
  Form form;
  form.add("grant_type", "refresh_token");
  form.add("refresh_token", refresh_token);
  return finished(std::move(form), client, now);
}

Outcome<Form> code_form(const Client& client, const CodeAttempt& attempt, const Secret& code,
                        UnixTime now) {
  Form form;
  form.add("grant_type", "authorization_code");
  form.add("code", code);
  form.add("redirect_uri", attempt.redirect);
  form.add("code_verifier", attempt.verifier);
  return finished(std::move(form), client, now);
}

Outcome<Form> device_form(const Client& client, UnixTime now) {
  Form form;
  if (!client.scope.empty()) form.add("scope", client.scope);
  return finished(std::move(form), client, now);
}

Outcome<Form> poll_form(const Client& client, const Secret& device_code, UnixTime now) {
  Form form;
  form.add("grant_type", "urn:ietf:params:oauth:grant-type:device_code");
  form.add("device_code", device_code);
  return finished(std::move(form), client, now);
}

}  // namespace starttls::token
