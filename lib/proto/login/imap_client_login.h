#pragma once

// The client's login in IMAP: LOGIN and AUTHENTICATE (RFC 9051 §6.2.2, §6.2.3).

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "lib/base/error.h"
#include "lib/base/secret.h"
#include "lib/proto/lines.h"
#include "lib/proto/login/login_gate.h"
#include "lib/proto/login/sasl_server.h"

namespace starttls::proto::imap {

/// A LOGIN command as far as it has arrived.
struct LoginCommand {
  enum class State : std::uint8_t {
    incomplete,  ///< more bytes are needed
    whole,
    malformed,  ///< `last_line` may announce a literal, which is not read
  };
  /// Errors: those of `next_line`.
  Result<State> state = State::incomplete;
  std::size_t size = 0;  ///< bytes of the input that were read; final unless `incomplete`
  std::string_view last_line = {};  ///< of them, without its end
  std::size_t continuations = 0;    ///< literals so far that the client sends only after a "+"
  std::string name = {};
  Secret password = {};
};

/// Reads the arguments of LOGIN from `input`, which begins after the verb and one space: two atoms,
/// quoted strings or literals. All lines and literals together are limited to `rules.limit`. A
/// literal that would be longer is malformed as soon as it is announced.
[[nodiscard]] LoginCommand read_login(std::string_view input, LineRules rules);

class ClientLoginCommands final : LoginAnswers {
 public:
  /// The next step of a login.
  struct Next {
    enum class Kind : std::uint8_t {
      challenge,  ///< send `words`, and read a response
      complete,   ///< the gate has the login
      refuse,     ///< answer with the tag and `words`
    };
    Kind kind;
    std::string words = {};
  };

  /// For `tag` and `rules` see LoginGate.
  ClientLoginCommands(std::string tag, LineRules rules);
  ClientLoginCommands(const ClientLoginCommands&) = delete;
  ClientLoginCommands& operator=(const ClientLoginCommands&) = delete;
  ~ClientLoginCommands() = default;

  /// Begins an AUTHENTICATE of this tag; `arguments` come after the verb and one space.
  [[nodiscard]] Next authenticate(std::string_view tag, std::string_view arguments);
  [[nodiscard]] Next on_response(std::string_view line);
  /// Takes a whole LOGIN of this tag.
  void log_in(std::string_view tag, LoginCommand command);
  /// Reads the server's capabilities.
  void read_offer(std::string_view list);

  [[nodiscard]] bool awaits_response() const noexcept { return sasl_.has_value(); }
  /// Returns the tag of the client's command.
  [[nodiscard]] std::string_view tag() const noexcept { return tag_; }
  [[nodiscard]] LoginGate& gate() noexcept { return gate_; }
  [[nodiscard]] const LoginGate& gate() const noexcept { return gate_; }

 private:
  // LoginAnswers
  [[nodiscard]] std::string success(const ServerLogin::Reply& reply) const override;
  [[nodiscard]] std::string refusal() const override;
  [[nodiscard]] std::string passed_refusal(const ServerLogin::Reply& reply) const override;
  [[nodiscard]] std::string unavailable(std::string_view reason) const override;

  [[nodiscard]] Next next(SaslServer::Status status);
  [[nodiscard]] std::string answer(std::string_view status, std::string_view text) const;

  LoginGate gate_;
  std::string tag_;
  std::optional<SaslServer> sasl_;
};

}  // namespace starttls::proto::imap
