#include "token/code_flow.h"

#include <algorithm>
#include <cstdint>
#include <utility>

#include "lib/base/ascii.h"
#include "lib/base/random.h"
#include "token/answer.h"
#include "token/crypto.h"
#include "token/text.h"

namespace starttls::token {
namespace {

/// True if the state in a redirect is that of this attempt. Without this check another site could
/// give us a code of its own account (RFC 6749 §10.12).
bool is_own_state(const Fields& fields, std::string_view state) {
  const auto got = field(fields, "state");
  return got && Secret{*got} == Secret{state};
}

}  // namespace

CodeAttempt begin_attempt(std::string redirect) {
  // 256 random bits as 64 characters; RFC 7636 §4.1 wants 43 to 128.
  std::string verifier = random_token() + random_token();
  CodeAttempt attempt{
      .state = random_token(), .verifier = Secret{verifier}, .redirect = std::move(redirect)};
  wipe(verifier);
  return attempt;
}

std::string code_challenge(std::string_view verifier) {
  return base64url(sha256(verifier));
}

std::string authorization_address(const Client& client, std::string_view account,
                                  const CodeAttempt& attempt) {
  Form query;
  query.add("response_type", "code");
  query.add("client_id", client.client_id);
  query.add("redirect_uri", attempt.redirect);
  if (!client.scope.empty()) query.add("scope", client.scope);
  query.add("state", attempt.state);
  query.add("code_challenge", code_challenge(attempt.verifier.reveal()));
  query.add("code_challenge_method", "S256");
  if (account.find('@') != std::string_view::npos) query.add("login_hint", account);
  std::string address = client.authorize_url;
  address += address.find('?') == std::string::npos ? '?' : '&';
  address += query.encoded();
  if (!client.authorize_extra.empty()) address += "&" + client.authorize_extra;
  return address;
}

Outcome<std::optional<Secret>> read_redirect(std::string_view target, std::string_view path,
                                             const CodeAttempt& attempt) {
  const auto mark = target.find('?');
  if (mark == std::string_view::npos || target.substr(0, mark) != path) return std::nullopt;
  const auto query = target.substr(mark + 1);
  const auto fields = parse_query(query.substr(0, query.find('#')));
  if (!fields || !is_own_state(*fields, attempt.state)) return std::nullopt;
  if (const auto error = field(*fields, "error")) {
    Form sent;
    sent.add("code_verifier", attempt.verifier);
    return failed(oauth_failure(*error, field(*fields, "error_description").value_or(""), sent));
  }
  const auto code = field(*fields, "code");
  if (!code || code->empty() || !std::all_of(code->begin(), code->end(), ascii::is_printable)) {
    return failed(Exit::protocol, "the provider's redirect has no usable code");
  }
  return Secret{*code};
}

Outcome<Secret> read_pasted(std::string_view address, const CodeAttempt& attempt) {
  address = ascii::trim(address);
  const std::string_view redirect = attempt.redirect;
  const auto path_start = redirect.find('/', std::string_view{"http://"}.size());
  const auto origin = redirect.substr(0, path_start);
  const auto wrong = [] {
    return failed(Exit::usage,
                  "this is not the address that the browser shows after this attempt's "
                  "confirmation");
  };
  if (!address.starts_with(origin)) return wrong();
  auto code = read_redirect(address.substr(origin.size()), redirect.substr(origin.size()), attempt);
  if (!code) return failed(std::move(code.error()));
  if (!*code) return wrong();
  return std::move(**code);
}

}  // namespace starttls::token
