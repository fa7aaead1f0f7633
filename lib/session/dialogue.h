#pragma once

// The part of a session from the client's greeting until it commits: a protocol's downstream role
// works between the two legs. The dialogue offers bytes that arrive to the role, and sends what the
// role writes. It returns the next step to the session. It touches no socket and starts no TLS.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "lib/base/error.h"
#include "lib/proto/role.h"
#include "lib/session/endpoint.h"
#include "lib/session/traffic.h"

namespace starttls::session {

/// Sends text of our own to a client, and counts it. After a failed handshake nothing is sent.
void say(DialogueEndpoint& client, std::string_view text, Traffic& traffic);

class Dialogue {
 public:
  /// The session's next step.
  enum class Next : std::uint8_t {
    go_on,      ///< wait for bytes of either side
    start_tls,  ///< send `go_ahead` and begin the client's handshake
    commit,     ///< the client's bytes are opaque from here on, those in its input included
    relay,      ///< the server's bytes are opaque too
    finish,     ///< end the session as a success
    log_in,     ///< get credentials for `login_request`, then call `on_credentials`
    pause,      ///< wait for `kRefusalDelay`, then call `after_pause`
    reconnect,  ///< get a fresh connection to the server, then `replace_server` and `resume`
  };

  /// The legs and `traffic` outlive us.
  Dialogue(std::unique_ptr<proto::DownstreamRole> role, DialogueEndpoint& client,
           DialogueEndpoint& server, Traffic& traffic) noexcept
      : role_(std::move(role)),
        client_(client),
        server_(&server),
        traffic_(traffic),
        server_was_secured_(server.secured()) {}

  // The calls below fail with the role's errors. By then, bytes that the role wrote for the client
  // have been sent; bytes that it wrote for the server have not (see role.h). Once the client has
  // spoken, an error's evidence has only the status of the server's line.

  /// Greets the client.
  [[nodiscard]] Result<> begin(std::string_view greeting);
  /// Offers the client's input.
  [[nodiscard]] Result<Next> on_client_input();
  /// Offers the server's input.
  [[nodiscard]] Result<Next> on_server_input();
  /// Goes on after the client's handshake, or with a fresh connection to the server.
  [[nodiscard]] Result<Next> resume();

  // The login. Neither side's input is offered between `log_in` and `on_credentials`, nor between
  // `pause` and `after_pause`.

  [[nodiscard]] proto::LoginRequest login_request() const { return role_->login_request(); }
  [[nodiscard]] Result<Next> on_credentials(Result<proto::Credentials> credentials);
  [[nodiscard]] Result<Next> after_pause();
  /// Decides what follows when the server hangs up, or is too slow, during a login. `go_on`: the
  /// role has no login under way, so the end is the session's.
  [[nodiscard]] Result<Next> on_server_lost(std::string_view how);
  /// Returns the result of the last login; nothing if there was none.
  [[nodiscard]] const proto::LoginReport* login_report() const noexcept {
    return role_->login_report();
  }

  /// Makes `server` the server's leg. The old one is not touched any more. Errors: tls_not_offered,
  /// if the old one had TLS and the new one has not.
  [[nodiscard]] Result<> replace_server(DialogueEndpoint& server);

  /// Returns the go-ahead after `start_tls`: see DownstreamRole::go_ahead.
  [[nodiscard]] std::string go_ahead() const { return role_->go_ahead(); }
  /// Answers a client that has sent more than its STARTTLS. Returns the error for the log, without
  /// the client's bytes. They may be a login that was sent early.
  [[nodiscard]] Error refuse_injection(Error error);

  /// Stops reading on both legs while either has bytes that its peer has not accepted.
  void balance();

  /// True if this server connection has received bytes of the client. Those sent in the clear may
  /// be an attacker's, so the connection does not serve the client after TLS (D2).
  [[nodiscard]] bool server_has_heard() const noexcept;
  /// True if nothing of the client has gone to this server connection, and nothing has come.
  [[nodiscard]] bool is_unused() const noexcept;
  /// True if the server owes the client something, or has begun to say something.
  [[nodiscard]] bool awaits_server() const noexcept;
  /// Sends the client what is held back of the server's reply. Call it if the client has committed,
  /// and the server has ended inside the reply.
  void give_up_server();
  /// Returns the number of complete commands. Bytes that the role took from the client in one call
  /// count as one. Bytes inside a literal that is refused do not count.
  [[nodiscard]] std::size_t commands() const noexcept { return commands_; }
  [[nodiscard]] std::string_view state() const noexcept { return role_->state(); }

 private:
  [[nodiscard]] Result<Next> act_on(const Result<proto::Verdict>& verdict, Next relay);
  void send_to_client(std::string_view text) { say(client_, text, traffic_); }
  void send_to_server(std::string& text);

  std::unique_ptr<proto::DownstreamRole> role_;
  DialogueEndpoint& client_;
  DialogueEndpoint* server_;
  Traffic& traffic_;
  std::size_t commands_ = 0;
  bool server_was_secured_;
  bool server_has_heard_ = false;
  bool server_has_spoken_ = false;
  bool awaits_tls_ = false;     // the client's
  bool awaits_server_ = false;  // a fresh connection
};

}  // namespace starttls::session
