#pragma once

// Theory of operation.
//
// A session is one client connection and its server connection, from accept until both are closed,
// and the only place where the two legs meet. Every session goes through the same phases, in one
// order:
//
//   proxy_header          a balancer says who its client is, before all else
//   downstream_handshake  implicit TLS with the client
//   connecting            reach the server, one configured address after the other
//   upstream_handshake    TLS, from the first octet or after STARTTLS
//   upstream_prelude      greeting and STARTTLS, conducted by the protocol's upstream role
//   dialogue              the client is greeted; the downstream role stands between the streams
//   downstream_starttls   the client has said STARTTLS: its handshake; then dialogue again
//   relay                 the client has committed: octets pass unseen
//   finishing             last words, FIN, and at most two seconds for the peers' FIN
//   ended                 reported once, erased by the owner
//
// Where a warm connection is at hand the upstream phases are behind us, and the client is greeted
// at once.
//
// The client hears nothing before the server is trusted, and what it says meanwhile waits, bounded,
// in its leg. The upstream phases, deadlines included, are an UpstreamOpener's work: what fails
// there moves on to the next configured address under the same policy; the last failure is told in
// the client's own protocol.
//
// After every event one function decides what is next, and `enter` is the only way to change the
// phase: it logs the transition and sets the deadline. Nothing here is destroyed from inside its
// own call: an ended session is reported to its owner, which erases it from the loop.

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "lib/base/log.h"
#include "lib/base/side.h"
#include "lib/metrics/metrics.h"
#include "lib/metrics/outcome.h"
#include "lib/net/timer.h"
#include "lib/session/client/identity.h"
#include "lib/session/client/table.h"
#include "lib/session/leg.h"
#include "lib/session/relay.h"
#include "lib/session/service.h"
#include "lib/session/upstream/opener.h"

namespace starttls::session {

class Session;

/// What a session is doing, for whoever asks. Texts are as in its lines of the log.
struct SessionStatus {
  std::string session;
  std::string service;
  std::string client;
  std::string server;          ///< "" before one was reached
  std::string downstream_tls;  ///< "TLSv1.3", or "none"
  std::string upstream_tls;
  std::string phase;
  std::string state;  ///< what it waits for, in its protocol's words
  std::chrono::nanoseconds age{};
  std::uint64_t bytes_to_server = 0;
  std::uint64_t bytes_to_client = 0;
};

/// Whoever holds sessions: a worker.
class SessionOwner {
 public:
  /// Called once. The session must be erased later, from the loop, not inside this call.
  virtual void on_session_ended(Session& session) = 0;
  /// Called at most once, before that: the client is not served, and has been told. False: there
  /// are too many such, and it ends without waiting for the client's FIN.
  [[nodiscard]] virtual bool may_linger(Session& session) = 0;
  /// A connection to the service's server that is ready, if one is kept; it tells `events`.
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
  /// How long both peers may take to answer our FIN.
  static constexpr std::chrono::seconds kLinger{2};

  /// Takes a connected client. `peer` is where it was accepted from, `id` stands in every line
  /// about the session.
  Session(SessionContext environment, std::shared_ptr<const Service> service,
          net::Stream::Ptr client, const net::SocketAddress& peer, std::string id);
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  void start();
  /// Instead of `start`: tells the client why it is not served (limit, not_allowed, draining).
  void refuse(const Error& error);
  /// The time to drain is over: last words where the protocol allows them, else the end.
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
  static constexpr std::string_view kPhaseNames[] = {"accepted",
                                                     "proxy_header",
                                                     "downstream_handshake",
                                                     "connecting",
                                                     "upstream_handshake",
                                                     "upstream_prelude",
                                                     "dialogue",
                                                     "downstream_starttls",
                                                     "relay",
                                                     "finishing",
                                                     "ended"};

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

  void enter(Phase phase);
  void arm_deadline();
  void on_deadline();
  [[nodiscard]] std::chrono::milliseconds prelude_left() const;
  [[nodiscard]] bool awaits_client_tls() const noexcept;
  [[nodiscard]] std::chrono::milliseconds client_tls_left() const;
  void end_if_idle();
  [[nodiscard]] std::chrono::milliseconds quiet_for(std::size_t left);
  [[nodiscard]] bool server_has_ended() const noexcept { return to_client_->finished(); }
  void wait_for_clients_end();

  // Until the client is greeted.
  [[nodiscard]] bool may_begin() const noexcept;
  [[nodiscard]] bool look_for_header(std::string_view news);
  [[nodiscard]] bool admit();
  [[nodiscard]] bool may_handshake();
  void begin();
  void connect();
  void adopt(UpstreamConnection& opened);
  void go_on_with(UpstreamConnection opened);
  void greet_client(const UpstreamConnection& opened);

  // While the downstream role stands between the streams.
  [[nodiscard]] bool dialogue_goes_on(proto::Verdict verdict);
  void start_downstream_tls();
  void on_client_secured();
  void on_client_handshake_failed(const Error& error);
  void run_client_input();
  void pass_on_client_end();
  void run_server_input();
  void send_to_client(std::string_view text);
  void send_to_server(std::string_view text);
  void balance();

  void start_plain_relay();
  void on_cut(Leg& leg, Outcome outcome, std::string_view how);
  void finish_if_both_ended();

  [[nodiscard]] bool is_mute() const noexcept;
  void fail(const Error& error);
  void finish(Outcome outcome, std::string reason);
  void reset_when_delivered();
  void end_when_taken();
  [[nodiscard]] std::size_t waiting() const;
  void end_if_finished();
  void end();

  [[nodiscard]] bool before_greeting() const noexcept { return phase_ < Phase::dialogue; }
  [[nodiscard]] bool is_client(const Leg& leg) const noexcept { return &leg == &client_; }
  [[nodiscard]] Side side_of(const Leg& leg) const noexcept {
    return is_client(leg) ? Side::downstream : Side::upstream;
  }
  [[nodiscard]] Pipe& pipe_from(const Leg& leg) noexcept {
    return is_client(leg) ? *to_server_ : *to_client_;
  }
  [[nodiscard]] Pipe& pipe_to(const Leg& leg) noexcept {
    return is_client(leg) ? *to_client_ : *to_server_;
  }
  [[nodiscard]] const Address& address() const noexcept {
    return opener_ != nullptr ? opener_->address() : target_.addresses()[address_index_];
  }
  [[nodiscard]] std::string_view state() const noexcept;
  [[nodiscard]] std::uint64_t bytes_to_server() const noexcept {
    return prelude_bytes_to_server_ + (to_server_ ? to_server_->octets() : 0);
  }
  [[nodiscard]] std::uint64_t bytes_to_client() const noexcept {
    return prelude_bytes_to_client_ + (to_client_ ? to_client_->octets() : 0);
  }
  /// What is done where the same comes again and again.
  enum class Repetition : std::uint8_t { counted, told };
  void log_event(log::Level level, std::string_view message, const Error& error, Side side,
                 Repetition repetition = Repetition::counted);
  void log_session();

  SessionContext env_;
  std::shared_ptr<const Service> service_;
  std::string id_;
  std::string client_name_;
  std::string server_name_;
  net::Timer deadline_;
  Leg client_;
  ClientIdentity identity_;
  ClientTable::Seat seat_;
  Target target_;
  std::unique_ptr<Leg> server_;
  std::unique_ptr<UpstreamOpener> opener_;  // until the leg is ready, else to the end
  std::unique_ptr<proto::DownstreamRole> downstream_role_;
  std::optional<Pipe> to_server_;
  std::optional<Pipe> to_client_;

  Phase phase_ = Phase::accepted;
  std::size_t address_index_ = 0;
  bool client_ended_ = false;  // its direction is over; that travels behind its octets
  bool stopping_ = false;      // has been told to
  Leg* to_reset_ = nullptr;    // with RST, once what it was sent is delivered

  std::chrono::milliseconds accepted_at_;    // the loop's clock, for deadlines
  std::chrono::milliseconds last_activity_;  // relay, finishing
  std::size_t last_unsent_ = 0;              // a slow reader is not an idle one
  std::optional<std::chrono::milliseconds>
      delivered_at_;                  // all that the server said before its end
  std::chrono::nanoseconds born_at_;  // for measuring
  std::chrono::nanoseconds connected_at_{};
  std::chrono::nanoseconds greeted_at_{};
  std::chrono::nanoseconds handshake_at_{};  // the client's began
  std::uint64_t prelude_bytes_to_server_ = 0;
  std::uint64_t prelude_bytes_to_client_ = 0;
  Outcome outcome_ = Outcome::ok();
  std::string reason_;
};

}  // namespace starttls::session
