#include "lib/proto/login/sasl_client.h"

#include <algorithm>
#include <cassert>
#include <cstdint>
#include <span>

#include "lib/base/ascii.h"
#include "lib/base/base64.h"

namespace starttls::proto {
namespace {

constexpr std::string_view kNul{"\0", 1};
constexpr std::string_view kSeparator = "\x01";

Secret in_base64(std::string_view text) {
  auto encoded = base64::encode({reinterpret_cast<const std::uint8_t*>(text.data()), text.size()});
  Secret secret(encoded);
  wipe(encoded);
  return secret;
}

/// Returns a name as RFC 5801 §4 writes it.
std::string sasl_user(std::string_view name) {
  std::string out;
  for (const char c : name) {
    if (c == ',') {
      out += "=2C";
    } else if (c == '=') {
      out += "=3D";
    } else {
      out += c;
    }
  }
  return out;
}

/// Returns PLAIN's only message (RFC 4616 §2).
Secret plain_message(const Credentials& credentials) {
  return join({kNul, credentials.user, kNul, credentials.secret.reveal()});
}

/// Returns XOAUTH2's message, which Google and Microsoft document.
Secret xoauth2_message(const Credentials& credentials) {
  return join({"user=", credentials.user, kSeparator, "auth=Bearer ", credentials.secret.reveal(),
               kSeparator, kSeparator});
}

/// Returns OAUTHBEARER's message (RFC 7628 §3.1). It differs from XOAUTH2's in every part.
Secret oauthbearer_message(const Credentials& credentials) {
  return join({"n,a=", sasl_user(credentials.user), ",", kSeparator, "host=", credentials.host,
               kSeparator, "port=", std::to_string(credentials.port), kSeparator, "auth=Bearer ",
               credentials.secret.reveal(), kSeparator, kSeparator});
}

/// Returns the answer to the server's error, in base64. Without it both sides wait for ever (LP3,
/// LP4, RFC 7628 §3.2.3).
std::optional<Secret> error_answer(Mechanism mechanism) {
  if (mechanism == Mechanism::xoauth2) return Secret();
  return in_base64(kSeparator);
}

}  // namespace

Secret join(std::initializer_list<std::string_view> parts) {
  std::size_t size = 0;
  for (const auto part : parts) size += part.size();
  std::string text;
  text.reserve(size);  // a text that grows leaves copies of itself
  for (const auto part : parts) text += part;
  Secret secret(text);
  wipe(text);
  return secret;
}

std::string_view sasl_name(Mechanism mechanism) noexcept {
  switch (mechanism) {
    case Mechanism::plain:
      return "PLAIN";
    case Mechanism::login:
      return "LOGIN";
    case Mechanism::xoauth2:
      return "XOAUTH2";
    case Mechanism::oauthbearer:
      return "OAUTHBEARER";
    case Mechanism::automatic:
    case Mechanism::native:
      break;
  }
  return {};
}

std::optional<Secret> SaslClient::next() {
  const auto number = messages_++;
  switch (mechanism_) {
    case Mechanism::plain:
      if (number == 0) return in_base64(plain_message(credentials_).reveal());
      break;
    case Mechanism::login:
      // The prompts differ from server to server, so only their order counts.
      if (number == 0) return in_base64(credentials_.user);
      if (number == 1) return in_base64(credentials_.secret.reveal());
      break;
    case Mechanism::xoauth2:
      if (number == 0) return in_base64(xoauth2_message(credentials_).reveal());
      if (number == 1) return error_answer(mechanism_);
      break;
    case Mechanism::oauthbearer:
      if (number == 0) return in_base64(oauthbearer_message(credentials_).reveal());
      if (number == 1) return error_answer(mechanism_);
      break;
    case Mechanism::automatic:
    case Mechanism::native:
      assert(false && "no SASL mechanism");
      break;
  }
  return std::nullopt;
}

bool SaslClient::has_given_secret() const noexcept {
  return messages_ > (mechanism_ == Mechanism::login ? 1 : 0);
}

bool SaslClient::has_answered_error() const noexcept {
  const bool token = mechanism_ == Mechanism::xoauth2 || mechanism_ == Mechanism::oauthbearer;
  return token && messages_ == 2;
}

std::string error_status(std::string_view challenge) {
  constexpr std::size_t kMaxStatus = 32;
  const auto decoded = base64::decode(challenge);
  if (!decoded) return {};
  const std::string_view json(reinterpret_cast<const char*>(decoded->data()), decoded->size());
  constexpr std::string_view kKey = "\"status\"";
  const auto key = json.find(kKey);
  if (key == std::string_view::npos) return {};
  auto value = ascii::trim(json.substr(key + kKey.size()));
  if (!value.starts_with(':')) return {};
  value = ascii::trim(value.substr(1));
  if (value.starts_with('"')) value.remove_prefix(1);
  const auto is_word = [](char c) {
    return ascii::is_digit(c) || (c >= 'a' && c <= 'z') || c == '_';
  };
  const auto end = std::find_if_not(value.begin(), value.end(), is_word);
  const auto status = value.substr(0, static_cast<std::size_t>(end - value.begin()));
  return std::string(status.size() <= kMaxStatus ? status : std::string_view{});
}

}  // namespace starttls::proto
