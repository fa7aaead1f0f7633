#include "lib/session/credentials/secret_answer.h"

#include <algorithm>
#include <string>
#include <utility>

#include "lib/base/ascii.h"
#include "lib/base/login_settings.h"
#include "lib/session/credentials/token_json.h"

namespace starttls::session {
namespace {

using metrics::SecretFailure;

constexpr std::string_view kByteOrderMark = "\xEF\xBB\xBF";

NoSecret no_secret_in(SecretFailure failure, std::string reason) {
  return {failure, Error{Errc::login, std::move(reason)}};
}

bool is_json(std::string_view line) noexcept {
  const auto first = line.find_first_not_of(" \t");
  return first != std::string_view::npos && line[first] == '{';
}

/// Returns the end that a token itself names, if it is earlier.
SecretEnd end_with_jwt(SecretEnd end, const Secret& token) {
  const auto at = expiry_of_jwt(token.reveal());
  if (at && (!end.at || *at < *end.at)) end.at = at;
  return end;
}

NoSecret unusable() {
  return no_secret_in(SecretFailure::malformed,
                      "the secret is too long, or has bytes that no secret may have");
}

SecretAnswer usable_or_not(FreshSecret found, bool token) {
  if (found.secret.empty()) {
    return no_secret_in(SecretFailure::empty, "the first line of the secret's source is empty");
  }
  if (!is_usable(found.secret, token)) {
    return unusable();
  }
  if (token) found.end = end_with_jwt(found.end, found.secret);
  return found;
}

/// True if `text` has a byte that would end a line, or a field of a token's exchange.
bool has_forbidden_byte(std::string_view text, bool token) noexcept {
  return !ascii::is_one_line(text) || (token && text.find('\x01') != std::string_view::npos);
}

}  // namespace

std::optional<UnixTime> SecretEnd::as_time(UnixTime now) const noexcept {
  if (!after) return at;
  const UnixTime then{now.since_1970 + *after};
  return at ? std::min(*at, then) : then;
}

bool is_usable(const Secret& secret, bool token) noexcept {
  const auto text = secret.reveal();
  return text.size() <= kMaxSecret && !has_forbidden_byte(text, token);
}

SecretAnswer secret_in(std::string_view text, bool whole, bool token) {
  if (text.starts_with(kByteOrderMark)) text.remove_prefix(kByteOrderMark.size());
  const auto end = text.find('\n');
  if (end == std::string_view::npos && !whole) {
    return unusable();
  }
  auto line = text.substr(0, end);
  if (line.ends_with('\r')) line.remove_suffix(1);
  if (!token || !is_json(line)) return usable_or_not({Secret{line}}, token);
  if (auto found = read_token_json(line)) return usable_or_not(std::move(*found), token);
  const auto error = endpoint_error_in(line);
  return no_secret_in(SecretFailure::malformed,
                      error.empty() ? "the first line of the secret's source is not a JSON object "
                                      "with an access_token"
                                    : "the secret's source has no token, but an error: " + error);
}

NoSecret too_late() {
  return no_secret_in(SecretFailure::timeout, "the secret did not come in time");
}

}  // namespace starttls::session
