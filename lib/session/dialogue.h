#pragma once

// The part of a session from the client's greeting until it commits: a protocol's downstream role
// stands between the two legs. The dialogue offers the role what arrives, sends what the role says,
// and tells the session what to do next. It touches no socket and starts no TLS.

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

/// Sends words of ours to a client, and counts them. After a failed handshake nothing is sent.
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
  };

  /// The legs and `traffic` outlive us.
  Dialogue(std::unique_ptr<proto::DownstreamRole> role, DialogueEndpoint& client,
           DialogueEndpoint& server, Traffic& traffic) noexcept
      : role_(std::move(role)),
        client_(client),
        server_(&server),
        traffic_(traffic),
        server_was_secured_(server.secured()) {}

  // Errors of the calls below: those of the role. What the role wrote for the client has been sent
  // then, and what it wrote for the server has not (see role.h). Once the client speaks, an error's
  // evidence has the status of the server's line only.

  /// Greets the client.
  [[nodiscard]] Result<> begin(std::string_view greeting);
  /// Offers the client's input.
  [[nodiscard]] Result<Next> on_client_input();
  /// Offers the server's input.
  [[nodiscard]] Result<Next> on_server_input();
  /// Goes on after the client's handshake, or with a fresh connection to the server.
  [[nodiscard]] Result<> resume();
  /// From here on `server` is the server's leg. The old one is not touched any more. Errors:
  /// tls_not_offered, if the old one had TLS and the new one has not.
  [[nodiscard]] Result<> replace_server(DialogueEndpoint& server);

  /// After `start_tls`: see DownstreamRole::go_ahead.
  [[nodiscard]] std::string go_ahead() const { return role_->go_ahead(); }
  /// The client has sent more than its STARTTLS: tells it so. Returns the error for the log,
  /// without the client's words. They may be a login that was sent early.
  [[nodiscard]] Error refuse_injection(Error error);

  /// Stops both legs if either has not taken what it was sent, and lets them go on after that.
  void balance();

  /// True if this server connection has received bytes of the client. In the clear they may be an
  /// attacker's, so it does not serve the client after TLS (D2).
  [[nodiscard]] bool server_has_heard() const noexcept;
  /// Counts complete commands, or whatever the role took from the client in one call.
  [[nodiscard]] std::size_t commands() const noexcept { return commands_; }
  [[nodiscard]] std::string_view state() const noexcept { return role_->state(); }

 private:
  void send_to_client(std::string_view text) { say(client_, text, traffic_); }
  void send_to_server(std::string_view text);

  std::unique_ptr<proto::DownstreamRole> role_;
  DialogueEndpoint& client_;
  DialogueEndpoint* server_;
  Traffic& traffic_;
  std::size_t commands_ = 0;
  bool server_was_secured_;
  bool server_has_heard_ = false;
  bool awaits_tls_ = false;  // the client's
};

}  // namespace starttls::session
