#pragma once

// The result of the login that a probe has tried, as lines for people and as JSON.

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "lib/base/login_settings.h"
#include "lib/base/utc.h"
#include "lib/proto/login/server_login.h"
#include "proxy/probe/token_facts.h"

namespace starttls {

enum class LoginOutcome : std::uint8_t {
  not_tried,    ///< the settings do not accept the server
  no_secret,    ///< the source of the secret has none
  not_offered,  ///< the server lists no mechanism that fits
  unanswered,   ///< the server broke off, or broke the protocol
  refused,
  succeeded,
};

/// Returns the outcome's name in JSON.
[[nodiscard]] std::string_view name(LoginOutcome outcome) noexcept;

/// A login and the server's answer. Texts are printable. The secret is not among them.
struct LoginFacts {
  std::string account = {};  ///< the row's name in the configuration; "" = none
  std::string user = {};     ///< at the server
  Mechanism wanted = Mechanism::automatic;
  bool token = false;
  TokenFacts token_facts = {};               ///< only of a token
  std::vector<std::string> mechanisms = {};  ///< SASL, as the server lists them, each once
  bool native = false;                       ///< the protocol's own login is possible
  Mechanism used = Mechanism::automatic;     ///< `automatic`: none yet
  LoginOutcome outcome = LoginOutcome::not_tried;
  std::string code = {};    ///< of the server's answer: "535", "NO"
  std::string text = {};    ///< in one line, without the code
  std::string status = {};  ///< of the server's error in JSON (RFC 7628 §3.2.2)
};

/// Returns the mechanisms of an offer, each once and printable.
[[nodiscard]] std::vector<std::string> listed_mechanisms(const proto::LoginOffer& offer);

/// Returns labels and texts for people.
[[nodiscard]] std::vector<std::pair<std::string, std::string>> login_lines(const LoginFacts& login,
                                                                           UnixTime now);
/// Returns an object that always has all fields.
[[nodiscard]] nlohmann::json login_json(const LoginFacts& login, UnixTime now);

}  // namespace starttls
