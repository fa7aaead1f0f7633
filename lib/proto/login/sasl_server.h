#pragma once

// The server side of SASL PLAIN (RFC 4616) and LOGIN (draft-murchison-sasl-login-00). Only these
// two show the proxy the client's name and password. All other mechanisms hide the password, so the
// proxy could not log in with it.
//
// Pure: base64 in, base64 out. The protocol frames both.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "lib/base/login_settings.h"
#include "lib/base/secret.h"

namespace starttls::proto {

/// A login as the client has sent it.
struct ClientLogin {
  std::string name = {};
  Secret password = {};
  Mechanism mechanism = Mechanism::automatic;
  bool wants_other_identity = false;  ///< it wants to act for another name (RFC 4616 §2)
};

class SaslServer {
 public:
  enum class Status : std::uint8_t {
    going_on,   ///< send `challenge` and read a response
    complete,   ///< see `take`
    cancelled,  ///< by the client
    malformed,  ///< no base64, or no message of the mechanism
  };

  /// Returns the mechanism of that name, in any case; nothing for those that hide the password.
  [[nodiscard]] static std::optional<Mechanism> find(std::string_view name) noexcept;

  explicit SaslServer(Mechanism mechanism) noexcept : mechanism_(mechanism) {}

  /// Starts with the response that came with the command, or without one. "=" is an empty one.
  [[nodiscard]] Status begin(std::optional<std::string_view> initial_response);
  /// Reads the response to `challenge`.
  [[nodiscard]] Status on_response(std::string_view response);

  /// Returns the current challenge in base64.
  [[nodiscard]] std::string_view challenge() const noexcept;
  /// Returns the login after `complete`.
  [[nodiscard]] ClientLogin take();

 private:
  [[nodiscard]] Status on_message(std::string_view message);
  [[nodiscard]] Status on_plain(std::string_view message);
  [[nodiscard]] Status read(std::string_view response);

  Mechanism mechanism_;
  std::optional<std::string> name_;
  Secret password_;
  bool wants_other_identity_ = false;
};

}  // namespace starttls::proto
