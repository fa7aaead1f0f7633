#pragma once

// A session before its relay: from the first byte of the client until both directions are opaque.
// It conducts admission, TLS with the client, the way to the server and the dialogue, one after the
// other. Its host, the session, owns the legs and the end.

#include <chrono>
#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "lib/base/side.h"
#include "lib/session/client/admission.h"
#include "lib/session/client/handshake.h"
#include "lib/session/context.h"
#include "lib/session/credentials/client_login.h"
#include "lib/session/dialogue.h"
#include "lib/session/leg.h"
#include "lib/session/phase.h"
#include "lib/session/session_record.h"
#include "lib/session/upstream/link.h"

namespace starttls::session {

/// The services that a prelude needs of its session.
class PreludeHost {
 public:
  [[nodiscard]] virtual Phase phase() const noexcept = 0;
  /// Returns the time of the client's accept, on the loop's clock.
  [[nodiscard]] virtual std::chrono::milliseconds accepted_at() const noexcept = 0;
  virtual void enter(Phase phase) = 0;
  /// Starts the deadline anew, because the client has sent a whole command.
  virtual void arm_deadline() = 0;
  /// Takes the server's leg, and lets bytes pass between the two.
  virtual Leg& keep_server(UpstreamConnection& connection) = 0;
  /// Returns the server's leg to the prelude, to be replaced.
  [[nodiscard]] virtual std::unique_ptr<Leg> release_server() = 0;
  /// Passes bytes of the client to the server, and its end after them.
  virtual void pass_to_server(std::span<const std::byte> bytes) = 0;
  virtual void end_to_server() = 0;
  /// Lets the pipes alone decide when the legs read, because both directions are opaque.
  virtual void start_server_relay() = 0;
  /// Logs a warning about the leg of `side`.
  virtual void log_event(std::string_view message, const Error& error, Side side,
                         SessionRecord::Repetition repetition) = 0;
  /// Sends the error to the client, and ends.
  virtual void fail(const Error& error) = 0;
  /// Does the same. `side` is the leg of the peer that made the error, if either could.
  virtual void fail_on(Side side, const Error& error) = 0;
  /// Ends without sending words to the client.
  virtual void finish(Outcome outcome, std::string reason) = 0;

 protected:
  ~PreludeHost() = default;
};

/// Belongs to one session, on its worker's thread.
class Prelude final : LinkEvents {
 public:
  /// `client` reports to the session, which passes the events below on. The server's leg will
  /// report to `leg_events`. All outlive us.
  Prelude(const SessionContext& env, const std::shared_ptr<const Service>& service, Leg& client,
          const net::SocketAddress& peer, SessionRecord& record, LegEvents& leg_events,
          PreludeHost& host);
  Prelude(const Prelude&) = delete;
  Prelude& operator=(const Prelude&) = delete;

  void start();

  // Events. None comes after the session is over.

  /// Looks at bytes that have just come from the client, if a PROXY header is due or forbidden.
  /// Returns false if they were only a header, or a part of one.
  [[nodiscard]] bool look_for_header(std::string_view news);
  /// True if `look_for_header` must see the client's next bytes.
  [[nodiscard]] bool looks_for_header() const noexcept {
    return admission_.is_watching() && !client_.secured();
  }
  void on_client_input();
  void on_server_input();
  void on_client_secured();
  /// Ends the session, because the client's handshake has failed or its time is over.
  void on_client_handshake_failed(const Error& error);
  /// Notes that the client has ended its direction before there is a server to pass that on to.
  /// Returns false if it had said nothing yet, and has left.
  [[nodiscard]] bool wait_for_server();
  /// Decides what follows when the server has ended its direction, or was cut; not during a login.
  /// Returns true if that is settled: another connection replaces it (D1), or the client has heard
  /// the reason. Otherwise the end is the session's, or travels.
  [[nodiscard]] bool on_server_end(std::string_view how, bool client_has_ended);
  /// Notes that the client has ended its direction during a login. That is passed on after it.
  void on_client_end_in_login() noexcept { client_ended_ = true; }
  /// Decides what follows when the server has ended, during a login. Returns false if the session
  /// ends, too.
  [[nodiscard]] bool goes_on_without_server(std::string_view how);
  /// Ends a login that has taken too long.
  void on_login_expired(std::string_view reason);
  /// Notes that the peer of a leg has taken all that waited for it.
  void on_drained();

  /// Ends a login, and an opening that is under way or has failed. Returns its connection, if there
  /// is one.
  [[nodiscard]] std::optional<UpstreamConnection> abandon();

  [[nodiscard]] bool awaits_header() const noexcept { return admission_.awaits_header(); }
  [[nodiscard]] bool has_greeted() const noexcept { return dialogue_ != nullptr; }
  /// True if the client waits for the server: see Dialogue.
  [[nodiscard]] bool awaits_server() const noexcept {
    return dialogue_ != nullptr && server_ != nullptr && dialogue_->awaits_server();
  }
  /// Returns the time of the client's login; only during one.
  [[nodiscard]] std::chrono::milliseconds login_at() const noexcept {
    return login_ == nullptr ? std::chrono::milliseconds{} : login_->began_at();
  }
  [[nodiscard]] const ServerLink& link() const noexcept { return link_; }
  /// Returns the event that is waited for, for logs; "" if only the phase knows.
  [[nodiscard]] std::string_view state() const noexcept;

 private:
  // LinkEvents
  void on_opening(OpeningStage stage) override;
  void on_attempt_failed(const Error& error, NextAttempt next) override;
  void on_linked(UpstreamConnection connection) override;
  void on_not_linked(const Error& error) override;

  void begin();
  void connect();
  void greet_client(std::string_view greeting);
  void start_plain_relay();
  void resume_dialogue();
  void hear_both();
  [[nodiscard]] bool goes_on(const Result<Dialogue::Next>& next, Side side);
  void fail_dialogue(Side side, const Error& error);
  void commit();
  void relay_client();
  void relay_server();
  void start_client_tls();
  [[nodiscard]] bool is_plain_relay() const noexcept;
  [[nodiscard]] bool has_refused_tls() const noexcept;
  void try_again_in_the_clear();
  void begin_login();
  void note_login();
  void step_login(Dialogue::Next next);
  void go_on_with_login(const Result<Dialogue::Next>& next);

  [[nodiscard]] bool is_over() const noexcept { return host_.phase() >= Phase::finishing; }
  [[nodiscard]] const config::Service& settings() const noexcept { return service_.config; }
  [[nodiscard]] std::chrono::milliseconds give_up_at() const;

  const SessionContext& env_;
  const Service& service_;
  Leg& client_;
  Leg* server_ = nullptr;  // the session's; null: none is ready
  SessionRecord& record_;
  PreludeHost& host_;
  Admission admission_;
  ClientHandshake client_handshake_;
  ServerLink link_;
  std::unique_ptr<Dialogue> dialogue_;  // from the greeting until both directions are opaque
  std::unique_ptr<ClientLogin> login_;  // from the first login on
  bool refused_tls_ = false;            // the server has refused TLS on this connection
  bool server_left_ = false;            // during the client's handshake
  bool server_lost_ = false;            // during a login; the role answers that after its pause
  bool client_ended_ = false;           // its direction is over; that is passed on after its bytes
};

}  // namespace starttls::session
