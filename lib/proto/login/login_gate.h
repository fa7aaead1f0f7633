#pragma once

// One client's login: from the name and the password that have come, to the server's answer. It is
// the same for all protocols. A downstream role frames what the client says, and asks the gate what
// follows.
//
//   submit ── begin ──> log_in ── credentials ──> exchange with the server ──> success: relay
//                │                     │                  │
//                └── wrong: pause ──<──┘                  ├── the proxy's secret is refused: log_in
//                      │ (answered after it)              │   once more, then a temporary answer
//                      └──> the client may try again      ├── the client's own is refused: pause
//                                                         ├── the server is gone, and has refused
//                                                         │   a secret: reconnect, log_in
//                                                         └── the server is gone: a temporary
//                                                             answer, reconnect
//
// A refusal says the name or the password is wrong, but not which one. A temporary answer says that
// the client has done nothing wrong.

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "lib/base/error.h"
#include "lib/base/secret.h"
#include "lib/proto/lines.h"
#include "lib/proto/login/sasl_server.h"
#include "lib/proto/login/server_login.h"
#include "lib/proto/role.h"

namespace starttls::proto {

/// The text of a refusal that passes, if the server has sent none that may pass.
inline constexpr std::string_view kRefusedByServer = "The server refused the login";

/// The words with which a protocol answers its client's login: whole lines.
class LoginAnswers {
 public:
  [[nodiscard]] virtual std::string success(const ServerLogin::Reply& reply) const = 0;
  /// Returns the answer to a wrong name or password: the same for both.
  [[nodiscard]] virtual std::string refusal() const = 0;
  /// Returns the server's refusal of the client's own password. Its code passes whatever its text:
  /// it says if the client may try again.
  [[nodiscard]] virtual std::string passed_refusal(const ServerLogin::Reply& reply) const = 0;
  [[nodiscard]] virtual std::string unavailable(std::string_view reason) const = 0;

 protected:
  ~LoginAnswers() = default;
};

class LoginGate {
 public:
  /// `dialect` and `answers` outlive us. `tag` is our name, and in IMAP the beginning of the tags
  /// of our commands: see ServerLogin. `rules` are those of the server's lines.
  LoginGate(const LoginDialect& dialect, const LoginAnswers& answers, std::string tag,
            LineRules rules);

  /// Takes a login of the client. It waits until `begin`.
  void submit(ClientLogin login);
  /// Begins, once the replies to all earlier commands have passed. Returns `log_in` or `pause`.
  [[nodiscard]] Verdict begin();

  /// True from `submit` until the client may go on.
  [[nodiscard]] bool is_under_way() const noexcept { return state_ != State::idle; }
  /// True if `begin` is due.
  [[nodiscard]] bool is_waiting() const noexcept { return state_ == State::waiting; }
  /// True from `log_in` until `on_credentials`.
  [[nodiscard]] bool awaits_credentials() const noexcept { return state_ == State::credentials; }
  /// Judges words of the server that came while we awaited credentials. They are no answer to the
  /// command that we will send. Only a goodbye may come, and IMAP's untagged responses: both are
  /// heard later. Errors: protocol, attack.
  [[nodiscard]] Result<> hear_early(std::string_view words) const;
  /// True if the server's input is for `from_server`.
  [[nodiscard]] bool reads_server() const noexcept { return state_ == State::exchange; }

  // These do for a role what DownstreamRole documents. `need_more` with `is_under_way() == false`:
  // the client has been answered, and may go on.

  [[nodiscard]] LoginRequest request() const;
  [[nodiscard]] Result<Verdict> on_credentials(Result<Credentials> credentials,
                                               std::string& to_client, std::string& to_server);
  [[nodiscard]] Result<Step> from_server(std::string_view input, std::string& to_client,
                                         std::string& to_server);
  [[nodiscard]] Result<Verdict> after_pause(std::string& to_client);
  [[nodiscard]] Result<Verdict> on_server_lost(std::string_view how, std::string& to_client);
  /// Goes on with a fresh connection: `log_in` if the login goes on there.
  [[nodiscard]] Verdict reconnected();
  /// Returns nullptr while there is no result.
  [[nodiscard]] const LoginReport* report() const noexcept;
  [[nodiscard]] std::string_view state() const noexcept;

  /// The ways to log in that the server has listed. A role fills it as lists pass.
  [[nodiscard]] LoginOffer& offer() noexcept { return offer_; }
  [[nodiscard]] const LoginDialect& dialect() const noexcept { return dialect_; }

 private:
  enum class State : std::uint8_t { idle, waiting, credentials, exchange, pause, fresh, done };

  [[nodiscard]] static bool may_be_asked_about(const ClientLogin& login) noexcept;
  [[nodiscard]] Secret secret_for_server(const Credentials& credentials) const;
  [[nodiscard]] std::string next_tag();
  [[nodiscard]] Error why_not(ServerLogin::Status status) const;
  [[nodiscard]] Result<Verdict> conclude(ServerLogin::Status status, std::string& to_client);
  [[nodiscard]] Result<Verdict> on_refused(Error why, std::string& to_client);
  [[nodiscard]] Verdict refuse(Error why);
  [[nodiscard]] Verdict give_up(Error why, std::string& to_client);
  [[nodiscard]] Result<Verdict> lose(Error why, std::string& to_client);
  [[nodiscard]] Verdict use_fresh_connection(State next);
  void report(std::optional<Error> failure);
  void end(State next);

  const LoginDialect& dialect_;
  const LoginAnswers& answers_;
  std::string tag_;
  LineRules rules_;
  LoginOffer offer_;
  State state_ = State::idle;
  unsigned logins_at_server_ = 0;  ///< each has tags of its own
  unsigned refusals_ = 0;          ///< by this session's logins together
  bool reconnected_ = false;       ///< a fresh connection is in use since the server's last answer

  // The login under way.
  ClientLogin login_;
  bool asks_anew_ = false;        ///< the next request says that the last secret was refused
  std::optional<Error> refused_;  ///< the server has refused the first secret
  Secret tried_;                  ///< the one in use
  Secret refused_secret_;         ///< the first one
  bool passed_on_ = false;
  bool lost_ = false;         ///< the server has hung up during the pause
  bool is_reported_ = false;  ///< it has a result
  std::optional<ServerLogin> server_;
  std::optional<ServerLogin::Reply> passed_reply_;  ///< the refusal, of the client's own password
  std::optional<LoginReport> report_;
};

}  // namespace starttls::proto
