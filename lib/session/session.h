#pragma once

// Theory of operation.
//
// A session is one client connection and its server connection, from accept until both are closed.
// It owns the two legs, and conducts parts that know nothing of each other:
//
//   Prelude            all that comes before the relay (prelude.h), by means of
//     Admission        decides if this client is served (client/admission.h)
//     ClientHandshake  TLS with the client (client/handshake.h)
//     ServerLink       the server's leg, once it may be trusted (upstream/link.h)
//     Dialogue         the protocol's downstream role between the two legs (dialogue.h)
//   Relay              a pipe for each direction (relay.h)
//   ClosePolicy        how long to wait for an end (close_policy.h)
//   SessionRecord      reports to the log and the admin page (session_record.h)
//
// Every session goes through the same phases, in one order:
//
//   proxy_header          a balancer names its client, before all else
//   downstream_handshake  implicit TLS with the client
//   connecting            reach the server, one configured address after the other
//   upstream_handshake    TLS, from the first byte or after STARTTLS
//   upstream_prelude      greeting and STARTTLS, conducted by the protocol's upstream role
//   dialogue              the client is greeted; the downstream role works between the legs
//   downstream_starttls   the client has sent STARTTLS: its handshake; then dialogue again
//   login                 the client has logged in to the proxy, which now logs in to the server;
//                         then the relay, or dialogue again
//   relay                 the client has committed: bytes pass unseen
//   finishing             the last words and our FIN, which a slow reader gets within the idle
//                         time-out; then at most two seconds for the peers' FIN
//   ended                 reported once, erased by the owner
//
// If a warm connection is ready, the upstream phases are skipped. If the client starts TLS after it
// has talked to the server in the clear, the session goes back to `connecting`. An attacker may
// have sent commands in the client's name, and none of them may outlive the clear text. So the
// server gets a fresh connection, which also has not received a hello yet.
//
// The client receives nothing before the server is trusted. Its early bytes wait in its leg, up to
// a limit. If an address fails, the next one is tried under the same policy. The last failure
// reaches the client in its own protocol.
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
#include "lib/session/close_policy.h"
#include "lib/session/context.h"
#include "lib/session/leg.h"
#include "lib/session/phase.h"
#include "lib/session/prelude.h"
#include "lib/session/relay.h"
#include "lib/session/service.h"
#include "lib/session/session_record.h"

namespace starttls::session {

/// Lives on its worker's thread.
class Session final : LegEvents, PreludeHost {
 public:
  /// Takes a connected client. `peer` is the address that it was accepted from. `id` is in every
  /// line about the session. `context` outlives us.
  Session(const SessionContext& context, std::shared_ptr<const Service> service,
          net::Stream::Ptr client, const net::SocketAddress& peer, std::string id);
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  void start();
  /// Refuses the client, instead of `start`. The client gets the reason (limit, not_allowed,
  /// draining).
  void refuse(const Error& error);
  /// Ends, because the time to drain is over. Sends last words first, if the protocol allows them.
  void stop();

  [[nodiscard]] SessionStatus status() const;
  /// Returns the failure that ended the session; nothing if it has ended well. Valid after its end.
  [[nodiscard]] std::optional<FailedSession> failure() const { return record_.failure(); }

 private:
  // LegEvents
  void on_leg_input(Leg& leg) override;
  void on_leg_data(Leg& leg, std::span<const std::byte> plaintext) override;
  void on_leg_burst(Leg& leg, std::size_t bytes) override;
  void on_leg_secured(Leg& leg) override {
    if (side_of(leg) == Side::downstream) prelude_.on_client_secured();
  }
  void on_leg_end(Leg& leg, LegEnd end, std::string_view how) override;
  void on_leg_drained(Leg& leg) override;
  void on_leg_write_failed(Leg& leg, Error error) override;
  void on_leg_failed(Leg& leg, Error error) override;
  void on_leg_finished(Leg&) override { end_if_finished(); }

  // PreludeHost
  [[nodiscard]] Phase phase() const noexcept override { return phase_; }
  [[nodiscard]] std::chrono::milliseconds accepted_at() const noexcept override {
    return accepted_at_;
  }
  void enter(Phase phase) override;
  void arm_deadline() override;
  Leg& keep_server(UpstreamConnection& connection) override;
  std::unique_ptr<Leg> release_server() override;
  void pass_to_server(std::span<const std::byte> bytes) override { pass(Side::downstream, bytes); }
  void end_to_server() override { relay_->from(Side::downstream).on_end(); }
  void start_server_relay() override;
  void log_event(std::string_view message, const Error& error, Side side,
                 SessionRecord::Repetition repetition) override;
  void fail(const Error& error) override;
  void fail_on(Side side, const Error& error) override;
  void finish(Outcome outcome, std::string reason) override;

  void on_deadline();
  [[nodiscard]] Deadline deadline() const;
  void ask_close_policy();
  void adopt(UpstreamConnection& connection);
  void pass(Side from, std::span<const std::byte> plaintext);
  void count(Side from, std::size_t bytes) noexcept;
  void offer_bursts() noexcept;
  void note_reply(std::string_view bytes, bool begins_line);

  // The end.
  void on_cut(Leg& leg, Outcome outcome, std::string_view how);
  void finish_if_both_ended();
  [[nodiscard]] bool is_mute() const noexcept;
  void say_failure(const Error& error, Side side);
  void end_relay(const Error& error, Side side);
  void act_on(const CloseStep& step);
  void end_if_finished();
  void end();

  [[nodiscard]] bool is_over() const noexcept { return phase_ >= Phase::finishing; }
  [[nodiscard]] bool ignores(const Leg& leg) const noexcept;
  [[nodiscard]] bool awaits_client_tls() const noexcept {
    return settings().downstream.tls == TlsMode::starttls && !client_.secured();
  }
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

  const SessionContext& env_;
  std::shared_ptr<const Service> service_;
  SessionRecord record_;
  Leg client_;
  std::unique_ptr<Leg> server_;
  Prelude prelude_;
  std::optional<Relay> relay_;  // from the greeting on, or from the plain relay's start
  ClosePolicy close_;
  net::Timer deadline_;
  std::chrono::milliseconds accepted_at_;  // on the loop's clock
  Leg* to_reset_ = nullptr;  // reset with RST, once the bytes sent to it are delivered
  Phase phase_ = Phase::accepted;
  bool stopping_ = false;  // `stop` was called
};

}  // namespace starttls::session
