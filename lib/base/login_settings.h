#pragma once

// Settings of the proxy's own login that the configuration holds and the protocols use.

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace starttls {

/// When the proxy logs in to the server.
enum class LoginWhen : std::uint8_t {
  never,    ///< the client's login passes unseen
  client,   ///< after the client has logged in to the proxy
  connect,  ///< before the client is greeted
};

/// A way to log in. The configuration knows all but `native`.
enum class Mechanism : std::uint8_t {
  automatic,    ///< the best that the server lists
  plain,        ///< RFC 4616
  login,        ///< draft-murchison-sasl-login: name and password, each after a prompt
  xoauth2,      ///< Google's and Microsoft's: a bearer token
  oauthbearer,  ///< RFC 7628: a bearer token
  native,       ///< the protocol's own: IMAP LOGIN, USER and PASS, AUTHINFO USER
};

inline constexpr std::size_t kMechanismCount = static_cast<std::size_t>(Mechanism::native) + 1;

/// Returns the name for logs and metrics.
[[nodiscard]] constexpr std::string_view name(Mechanism mechanism) noexcept {
  constexpr std::string_view kNames[] = {"auto",    "plain",       "login",
                                         "xoauth2", "oauthbearer", "native"};
  return kNames[static_cast<std::size_t>(mechanism)];
}

/// Longest name and longest secret that are used, in bytes. Microsoft's tokens have more than 4096.
inline constexpr std::size_t kMaxLoginName = 255;
inline constexpr std::size_t kMaxSecret = 9000;

/// In an argument of a source's command, it becomes the account at the server.
inline constexpr std::string_view kUserPlaceholder = "{user}";

}  // namespace starttls
