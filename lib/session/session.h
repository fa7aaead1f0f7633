#pragma once

// Theory of operation.
//
// A session is one client connection and its server connection, from accept until both are closed.
// It conducts five parts that know nothing of each other, and that tests drive without a socket:
//
//   Admission      is this client served? (client/admission.h)
//   Dialogue       the protocol's downstream role between the two legs (dialogue.h)
//   Relay          a pipe for each direction (relay.h)
//   ClosePolicy    how long to wait for an end (close_policy.h)
//   SessionRecord  what the log and the admin page say (session_record.h)
//
// and an UpstreamOpener (upstream/opener.h), which makes the server's leg ready. Every session goes
// through the same phases, in one order:
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
// `enter` is the only way to change the phase. One table says how long each phase may take and what
// happens then. Nothing here is destroyed from inside its own call: an ended session is reported to
// its owner, which erases it from the loop.

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "lib/base/log.h"
#include "lib/base/side.h"
#include "lib/net/timer.h"
#include "lib/session/client/admission.h"
#include "lib/session/close_policy.h"
#include "lib/session/dialogue.h"
#include "lib/session/leg.h"
#include "lib/session/relay.h"
#include "lib/session/service.h"
#include "lib/session/session_record.h"
#include "lib/session/upstream/opener.h"

namespace starttls::session {

class Session;

/// Holds sessions: a worker.
class SessionOwner {
 public:
  /// Called once. The session must be erased later, from the loop, not inside this call.
  virtual void on_session_ended(Session& session) = 0;
  /// Called at most once, before that: the client is not served, and knows why. False: there are
  /// too many such clients, and this session ends without waiting for the client's FIN.
  [[nodiscard]] virtual bool may_linger(Session& session) = 0;
  /// Returns a ready connection to the service's server, if one is kept; its leg reports to
  /// `events`.
  [[nodiscard]] virtual std::optional<UpstreamConnection> take_warm(const Service& service,
                                                                    LegEvents& events) = 0;

 protected:
  ~SessionOwner() = default;
};

struct SessionContext {
  net::Loop& loop;
  net::Resolver& resolver;
  log::Logger& log;
  SessionOwner& owner;
  LoopGuard& loop_guard;
  ClientTable& clients;
  metrics::Tally& metrics;  ///< this worker's, of the service
};

/// Lives on its worker's thread.
class Session final : LegEvents, OpenerEvents {
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
  enum class Phase : std::uint8_t {
    accepted,
    proxy_header,
    downstream_handshake,
    connecting,
    upstream_handshake,
    upstream_prelude,
    dialogue,
    downstream_starttls,
    relay,
    finishing,
    ended,
  };
  /// A row of the table of phases.
  struct PhaseRow {
    std::string_view name;
    /// How long it may take; null: as long as it wants, or another part has the deadline.
    std::chrono::milliseconds (Session::*patience)() const;
    void (Session::*on_expired)();
  };
  static const PhaseRow kPhases[];

  // LegEvents
  void on_leg_input(Leg& leg) override;
  void on_leg_data(Leg& leg, std::span<const std::byte> plaintext) override;
  void on_leg_secured(Leg& leg) override;
  void on_leg_end(Leg& leg, LegEnd end, std::string_view how) override;
  void on_leg_drained(Leg& leg) override;
  void on_leg_write_failed(Leg& leg, Error error) override;
  void on_leg_failed(Leg& leg, Error error) override;
  void on_leg_finished(Leg& leg) override;

  // OpenerEvents
  void on_opening(OpeningStage stage) override;
  void on_attempt_failed(const Error& error) override;
  void on_opened() override;
  void on_not_opened(const Error& error) override;

  // Phases and deadlines.
  void enter(Phase phase);
  void arm_deadline();
  void on_deadline();
  [[nodiscard]] std::chrono::milliseconds prelude_left() const;
  [[nodiscard]] std::chrono::milliseconds first_bytes_left() const;
  [[nodiscard]] std::chrono::milliseconds implicit_tls_left() const;
  [[nodiscard]] std::chrono::milliseconds starttls_left() const;
  [[nodiscard]] std::chrono::milliseconds command_left() const;
  [[nodiscard]] std::chrono::milliseconds idle_left() const;
  [[nodiscard]] std::chrono::milliseconds linger_left() const;
  void on_first_bytes_expired();
  void on_handshake_expired();
  void on_command_expired();
  void on_quiet();
  [[nodiscard]] bool awaits_client_tls() const noexcept;

  // Until the client is greeted.
  [[nodiscard]] bool look_for_header(std::string_view news);
  [[nodiscard]] bool may_handshake();
  void begin();
  void connect();
  void open();
  void reopen();
  void start_opener(std::unique_ptr<Leg> old, bool stay_in_the_clear);
  [[nodiscard]] bool has_refused_tls() const noexcept;
  void try_again_in_the_clear();
  void adopt(UpstreamConnection& opened);
  void go_on_with(UpstreamConnection opened);
  void greet_client(const UpstreamConnection& opened);
  void resume_dialogue();
  void start_plain_relay();
  void report_fallback(const UpstreamConnection& opened);
  [[nodiscard]] Result<std::unique_ptr<tls::Engine>> client_engine();
  void hear_both();

  // While the downstream role works between the legs.
  void run_client_input();
  void run_server_input();
  [[nodiscard]] bool goes_on(const Result<Dialogue::Next>& next, Side side);
  void on_dialogue_failed(const Error& error, Side side);
  void commit();
  void start_downstream_tls();
  void on_client_handshake_failed(const Error& error);

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
  [[nodiscard]] const PhaseRow& row() const noexcept {
    return kPhases[static_cast<std::size_t>(phase_)];
  }
  [[nodiscard]] Side side_of(const Leg& leg) const noexcept {
    return &leg == &client_ ? Side::downstream : Side::upstream;
  }
  [[nodiscard]] const config::Service& settings() const noexcept { return service_->config; }
  [[nodiscard]] std::size_t waiting() const;
  [[nodiscard]] std::string_view state() const noexcept;
  void log_event(std::string_view message, const Error& error, Side side,
                 SessionRecord::Repetition repetition = SessionRecord::Repetition::counted);

  SessionContext env_;
  std::shared_ptr<const Service> service_;
  SessionRecord record_;
  Admission admission_;
  Target target_;
  Leg client_;
  std::unique_ptr<Leg> server_;
  std::unique_ptr<UpstreamOpener> opener_;  // until the leg is ready, or to the end if it fails
  std::unique_ptr<Dialogue> dialogue_;      // from the greeting until both directions are opaque
  std::optional<Relay> relay_;              // from the greeting on, or from the plain relay's start
  ClosePolicy close_;
  net::Timer deadline_;
  std::chrono::milliseconds accepted_at_;    // on the loop's clock
  std::chrono::nanoseconds handshake_at_{};  // the client's began
  std::size_t address_index_ = 0;            // of the target: where the server is
  Leg* to_reset_ = nullptr;                  // with RST, once what it was sent is delivered
  Phase phase_ = Phase::accepted;
  bool fell_back_ = false;     // the server's leg stayed in the clear, though it might have TLS
  bool client_ended_ = false;  // its direction is over; that is passed on after its bytes
  bool stopping_ = false;      // `stop` was called
};

}  // namespace starttls::session
