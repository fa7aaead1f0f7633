#pragma once

// Logs in to a server: the client side of SASL, and the logins that protocols had before it. Pure:
// bytes in, bytes out. Roles use it, the upstream one before the client is greeted, the downstream
// one after the client has logged in to the proxy.
//
// An exchange takes two steps (command, challenge, response). The response goes into the command
// only where servers are known to take it: SMTP lines of at most 512 bytes, and IMAP with SASL-IR.
// A challenge after the response is the server's error in JSON; it is answered, and then the server
// refuses (RFC 7628 §3.2.2).
//
// A reply that is there before its command was written is no answer. `on_input` refuses input that
// waits when it has just written a command. Only untagged responses of IMAP may wait. A reply that
// comes a moment later, but before the server has read the command, looks like an answer. A caller
// calls `begin` when it has handled all earlier input of the server.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "lib/base/error.h"
#include "lib/base/secret.h"
#include "lib/proto/lines.h"
#include "lib/proto/login/sasl_client.h"
#include "lib/proto/role.h"

namespace starttls::proto {

/// The ways to log in that a server lists.
struct LoginOffer {
  bool known = false;                        ///< a list has come on this connection, under this TLS
  std::vector<std::string> mechanisms = {};  ///< SASL, as the server writes them
  bool initial_response = false;             ///< IMAP: SASL-IR
  bool native = false;                       ///< the protocol's own login is possible

  [[nodiscard]] bool has(std::string_view mechanism) const noexcept;
};

struct LoginDialect;  ///< the differences between protocols: login_dialect.h
struct LoginPiece;
class LoginReplies;

/// Checks that the name and the secret can be sent, and can be no second command. Errors: login; if
/// they are the client's own, client_login.
[[nodiscard]] Result<> usable(const Credentials& credentials);

/// The words of the server's last reply that the log gets.
enum class ReplyInLog : std::uint8_t {
  whole,  ///< no client has spoken
  code,   ///< the server may repeat words of the client, its password among them
};

class ServerLogin {
 public:
  enum class Status : std::uint8_t {
    going_on,     ///< wait for the server
    succeeded,    ///< see `reply`
    refused,      ///< see `reply`
    not_offered,  ///< no mechanism that fits is listed: see `offer`
    gone,         ///< the server says goodbye (421, BYE); it hangs up
  };
  struct Progress {
    std::size_t consumed = 0;
    Status status = Status::going_on;
  };
  /// The server's reply that ended the exchange.
  struct Reply {
    std::string code;   ///< "535", "NO", "-ERR", "481"
    std::string text;   ///< in one line, without code or tag: for the client and for people
    std::string lines;  ///< whole lines that came before the last one (capabilities), as they came

    /// Returns the finer code that the text begins with: "5.7.8" (RFC 3463), "[AUTH]" (RFC 3206),
    /// "[AUTHENTICATIONFAILED]" (RFC 5530), "(TRYLATER)" (RFC 5804 §1.3); "" if there is none.
    [[nodiscard]] std::string_view finer_code() const noexcept;
    /// Returns the text after it; "" if the server has sent none, or has repeated the secret.
    [[nodiscard]] std::string_view words() const noexcept;
  };

  /// `dialect` outlives us. If `offer` is not known, the server is asked. `tag` is IMAP's, new for
  /// each login; every command of ours gets it with a number, so that no reply can be sent early.
  /// SMTP and LMTP: it is our name, for the hello that asks. `rules` are those of the server's leg.
  ServerLogin(const LoginDialect& dialect, Credentials credentials, LoginOffer offer,
              std::string tag, LineRules rules);
  ServerLogin(const ServerLogin&) = delete;
  ServerLogin& operator=(const ServerLogin&) = delete;
  ~ServerLogin();

  /// Sends the first command. `not_offered` is possible at once, and so is `refused` if the
  /// credentials are not `usable`.
  [[nodiscard]] Status begin(std::string& to_server);
  /// Reads the server's input, up to the end of the reply that ends the exchange. Errors: protocol.
  [[nodiscard]] Result<Progress> on_input(std::string_view input, std::string& to_server);

  [[nodiscard]] const Reply& reply() const noexcept { return reply_; }
  [[nodiscard]] const LoginOffer& offer() const noexcept { return offer_; }
  /// Returns `status` of the server's error in JSON; "" if there was none.
  [[nodiscard]] const std::string& server_status() const noexcept { return error_status_; }
  /// Returns the mechanism in use; `automatic` before one is chosen.
  [[nodiscard]] Mechanism mechanism() const noexcept { return mechanism_; }
  /// Returns the name of the event that we wait for.
  [[nodiscard]] std::string_view state() const noexcept;

 private:
  friend Error login_failure(const ServerLogin& login, Status status, ReplyInLog reply);

  [[nodiscard]] Status log_in(std::string& to_server);
  [[nodiscard]] bool say_next(std::string& to_server);
  void say(const Secret& message, std::string& to_server);
  [[nodiscard]] bool server_has_secret() const noexcept;
  void expect_reply_of_sasl();
  [[nodiscard]] Result<Status> on_piece(const LoginPiece& piece, std::string& to_server);
  [[nodiscard]] Result<Status> on_list(const LoginPiece& piece, std::string& to_server);
  [[nodiscard]] Result<Status> on_challenge(const LoginPiece& piece, std::string& to_server);
  [[nodiscard]] Result<Status> on_success();
  Status finish(Status status);
  [[nodiscard]] Error without_secret(Error error) const;
  [[nodiscard]] std::string without_secret(std::string text) const;

  const LoginDialect& dialect_;
  Credentials credentials_;
  LoginOffer offer_;
  std::string tag_;
  std::unique_ptr<LoginReplies> replies_;
  ReplyMeter meter_;
  Mechanism mechanism_ = Mechanism::automatic;
  std::optional<SaslClient> sasl_;
  std::optional<Secret> first_;  ///< the first message, if the command had no room for it
  Status status_ = Status::going_on;
  bool asks_for_list_ = false;
  std::string command_tag_;   ///< of our last command
  std::size_t commands_ = 0;  ///< that have a tag
  std::size_t messages_ = 0;  ///< of the login
  Reply reply_;
  std::string error_status_;       ///< of the server's error in JSON
  std::optional<Error> unusable_;  ///< why no login has begun
  // The first bytes of the secret and of the message that held it. Words of the server that repeat
  // them get neither into the log nor to the client.
  Secret secret_head_;
  Secret message_head_;
};

/// Returns the reason for the log and, for `535 5.7.139`, the remedy. `status` is the one that
/// ended the exchange, and not `succeeded`. The code is login; for the client's own secret,
/// client_login.
[[nodiscard]] Error login_failure(const ServerLogin& login, ServerLogin::Status status,
                                  ReplyInLog reply);

}  // namespace starttls::proto
