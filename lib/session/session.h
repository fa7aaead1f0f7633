#pragma once

// Theory of operation.
//
// A session is one client connection and its server connection, from accept until both are closed.
// It conducts parts that know nothing of each other:
//
//   Admission        is this client served? (client/admission.h)
//   ClientHandshake  TLS with the client (client/handshake.h)
//   ServerLink       the server's leg, once it may be trusted (upstream/link.h)
//   Dialogue         the protocol's downstream role between the two legs (dialogue.h)
//   Relay            a pipe for each direction (relay.h)
//   ClosePolicy      how long to wait for an end (close_policy.h)
//   SessionRecord    what the log and the admin page say (session_record.h)
//
// Every session goes through the same phases, in one order:
//
//   proxy_header          a balancer says who its client is, before all else
//   downstream_handshake  implicit TLS with the client
//   connecting            reach the server, one configured address after the other
//   upstream_handshake    TLS, from the first byte or after STARTTLS
//   upstream_prelude      greeting and STARTTLS, conducted by the protocol's upstream role
//   dialogue              the client is greeted; the downstream role works between the legs
//   downstream_starttls   the client has said STARTTLS: its handshake; then dialogue again
//   relay                 the client has committed: bytes pass unseen
//   finishing             last words, FIN, and at most two seconds for the peers' FIN
//   ended                 reported once, erased by the owner
//
// If a warm connection is ready, the upstream phases are over before they begin. If the client
// starts TLS after it has talked to the server in the clear, the session goes back to `connecting`:
// nothing that somebody said in the client's name may outlive the clear text, so the server gets a
// fresh connection, which also has not heard a hello yet.
//
// The client hears nothing before the server is trusted, and its early bytes wait, bounded, in its
// leg. If an address fails, the next one is tried under the same policy; the last failure reaches
// the client in its own protocol.
//
// `enter` is the only way to change the phase. phase.h says how long each may take, and what
// happens then. Nothing here is destroyed from inside its own call: an ended session is reported to
// its owner, which erases it from the loop.

#include <chrono>
#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "lib/base/side.h"
#include "lib/net/timer.h"
#include "lib/session/client/admission.h"
#include "lib/session/client/handshake.h"
#include "lib/session/close_policy.h"
#include "lib/session/context.h"
#include "lib/session/dialogue.h"
#include "lib/session/leg.h"
#include "lib/session/phase.h"
#include "lib/session/relay.h"
#include "lib/session/service.h"
#include "lib/session/session_record.h"
#include "lib/session/upstream/link.h"

namespace starttls::session {

/// Lives on its worker's thread.
class Session final : LegEvents, LinkEvents {
 public:
  /// Takes a connected client. `peer` is where it was accepted from, `id` is in every line about
  /// the session.
  Session(SessionContext context, std::shared_ptr<const Service> service, net::Stream::Ptr client,
          const net::SocketAddress& peer, std::string id);
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  void start();
  /// Instead of `start`: tells the client why it is not served (limit, not_allowed, draining).
  void refuse(const Error& error);
  /// The time to drain is over: sends last words if the protocol allows them, and ends.
  void stop();

  [[nodiscard]] SessionStatus status() const;

 private:
  // LegEvents
  void on_leg_input(Leg& leg) override;
  void on_leg_data(Leg& leg, std::span<const std::byte> plaintext) override;
  void on_leg_secured(Leg& leg) override;
  void on_leg_end(Leg& leg, LegEnd end, std::string_view how) override;
  void on_leg_drained(Leg& leg) override;
  void on_leg_write_failed(Leg& leg, Error error) override;
  void on_leg_failed(Leg& leg, Error error) override;
  void on_leg_finished(Leg& leg) override;

  // LinkEvents
  void on_opening(OpeningStage stage) override;
  void on_attempt_failed(const Error& error) override;
  void on_linked(UpstreamConnection connection) override;
  void on_not_linked(const Error& error) override;

  // Phases and deadlines.
  void enter(Phase phase);
  void arm_deadline();
  void on_deadline();
  [[nodiscard]] Deadline deadline() const;
  [[nodiscard]] std::chrono::milliseconds give_up_at() const;
  void ask_close_policy();

  // Until the client is greeted.
  [[nodiscard]] bool look_for_header(std::string_view news);
  void begin();
  void connect();
  void adopt(UpstreamConnection& connection);
  void greet_client(std::string_view greeting);
  void start_plain_relay();

  // While the downstream role works between the legs.
  void resume_dialogue();
  void hear_both();
  void run_client_input();
  void run_server_input();
  [[nodiscard]] bool goes_on(const Result<Dialogue::Next>& next, Side side);
  void commit();
  void start_downstream_tls();
  void on_client_handshake_failed(const Error& error);
  [[nodiscard]] bool has_refused_tls() const noexcept;
  void try_again_in_the_clear();
  void pass(Side from, std::span<const std::byte> plaintext);

  // The end.
  void on_cut(Leg& leg, Outcome outcome, std::string_view how);
  void finish_if_both_ended();
  [[nodiscard]] bool is_mute() const noexcept;
  void say_failure(const Error& error);
  void fail(const Error& error);
  void finish(Outcome outcome, std::string reason);
  void act_on(const CloseStep& step);
  void end_if_finished();
  void end();

  [[nodiscard]] bool is_over() const noexcept { return phase_ >= Phase::finishing; }
  [[nodiscard]] bool is_opening() const noexcept {
    return phase_ >= Phase::connecting && phase_ <= Phase::upstream_prelude;
  }
  [[nodiscard]] Side side_of(const Leg& leg) const noexcept {
    return &leg == &client_ ? Side::downstream : Side::upstream;
  }
  [[nodiscard]] const config::Service& settings() const noexcept { return service_->config; }
  [[nodiscard]] LegFacts leg_facts() const;
  [[nodiscard]] std::size_t waiting() const;
  [[nodiscard]] std::string_view state() const noexcept;
  void log_event(std::string_view message, const Error& error, Side side,
                 SessionRecord::Repetition repetition = SessionRecord::Repetition::counted);

  SessionContext env_;
  std::shared_ptr<const Service> service_;
  SessionRecord record_;
  Admission admission_;
  Leg client_;
  ClientHandshake client_handshake_;
  ServerLink link_;
  std::unique_ptr<Leg> server_;
  std::unique_ptr<Dialogue> dialogue_;  // from the greeting until both directions are opaque
  std::optional<Relay> relay_;          // from the greeting on, or from the plain relay's start
  ClosePolicy close_;
  net::Timer deadline_;
  std::chrono::milliseconds accepted_at_;  // on the loop's clock
  Leg* to_reset_ = nullptr;                // with RST, once what it was sent is delivered
  Phase phase_ = Phase::accepted;
  bool fell_back_ = false;     // the server's leg stayed in the clear, though it might have TLS
  bool client_ended_ = false;  // its direction is over; that is passed on after its bytes
  bool stopping_ = false;      // `stop` was called
};

}  // namespace starttls::session
