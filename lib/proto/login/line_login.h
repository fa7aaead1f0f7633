#pragma once

// The client's login in the protocols that read line by line: SMTP, LMTP, POP3, ManageSieve, NNTP.
// It turns a login command, or a response of SASL, into the action of the downstream role.

#include <optional>
#include <string>
#include <string_view>

#include "lib/proto/action.h"
#include "lib/proto/lines.h"
#include "lib/proto/login/login_gate.h"
#include "lib/proto/login/sasl_server.h"

namespace starttls::proto {

/// A protocol's words for the login of its clients, CRLF included where not said otherwise.
struct LoginWords {
  const LoginDialect& dialect;
  std::string_view challenge;        ///< comes before a challenge
  std::string_view challenge_end;    ///< comes after it
  std::string_view empty_challenge;  ///< the whole line
  std::string_view success;
  std::string_view refusal;      ///< a wrong name or password: the same words for both
  std::string_view unavailable;  ///< comes before a reason; the client has done nothing wrong
  std::string_view text_end;     ///< comes after it, and after the text of a server's refusal
  std::string_view cancelled;
  std::string_view malformed;
  std::string_view hidden;    ///< the mechanism hides the password, or is unknown
  std::string_view required;  ///< a command that must not pass before the login
  /// Returns the list that came with the server's success, as the client may see it. nullptr if
  /// none can come.
  std::string (*edit_list)(std::string_view lines) = nullptr;
};

class LineLogin final : LoginAnswers {
 public:
  /// `words` outlives us. For `tag` and `rules` see LoginGate.
  LineLogin(const LoginWords& words, std::string tag, LineRules rules)
      : words_(words), gate_(words.dialect, *this, std::move(tag), rules) {}
  LineLogin(const LineLogin&) = delete;
  LineLogin& operator=(const LineLogin&) = delete;
  ~LineLogin() = default;

  /// Starts SASL, with the response that came with the command.
  [[nodiscard]] Action start_sasl(std::string_view mechanism,
                                  std::optional<std::string_view> initial_response);
  /// Reads the response that is due; nothing: the line holds none.
  [[nodiscard]] Action on_response(std::optional<std::string_view> response);

  /// Takes the name of a login in two commands (USER, AUTHINFO USER), with the blank before it.
  /// `answer` asks for the password.
  [[nodiscard]] Action take_name(std::string_view argument, std::string_view answer);
  /// Takes the password, with the blank before it. Without a name, `answer` refuses it.
  [[nodiscard]] Action take_password(std::string_view argument, std::string_view answer);

  /// Forgets what client and server said before the client's TLS. Another connection to the server
  /// may follow.
  void forget();
  /// Begins to read a list of the server's, which replaces an earlier one.
  void begin_offer();
  /// Reads a line of it, without its code.
  void read_offer(std::string_view line);

  [[nodiscard]] Action refuse(std::string_view words) const {
    return {Action::Kind::refuse, std::string(words)};
  }
  [[nodiscard]] const LoginWords& words() const noexcept { return words_; }
  /// True if the next line of the client is a response.
  [[nodiscard]] bool awaits_response() const noexcept { return sasl_.has_value(); }
  [[nodiscard]] LoginGate& gate() noexcept { return gate_; }
  [[nodiscard]] const LoginGate& gate() const noexcept { return gate_; }

 private:
  // LoginAnswers
  [[nodiscard]] std::string success(const ServerLogin::Reply& reply) const override;
  [[nodiscard]] std::string refusal() const override;
  [[nodiscard]] std::string passed_refusal(const ServerLogin::Reply& reply) const override;
  [[nodiscard]] std::string unavailable(std::string_view reason) const override;

  [[nodiscard]] std::string with_text(std::string_view head, std::string_view text) const;
  [[nodiscard]] Action next(SaslServer::Status status);
  [[nodiscard]] Action submit(ClientLogin login);

  const LoginWords& words_;
  LoginGate gate_;
  std::optional<SaslServer> sasl_;
  std::optional<std::string> name_;
};

}  // namespace starttls::proto
