#pragma once

// Makes an upstream leg ready: connects, and does all that the policy wants before a client may be
// greeted. Opening decides and this performs; it owns the connection, the timer and the counters.
// Its owner, a session or the pool of warm connections, gets the stages as events. In the end the
// owner takes the connection, if there is one.

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "lib/metrics/metrics.h"
#include "lib/net/connector.h"
#include "lib/net/timer.h"
#include "lib/session/credentials/desk.h"
#include "lib/session/leg.h"
#include "lib/session/upstream/opening.h"
#include "lib/session/upstream/target.h"
#include "lib/session/worker_context.h"

namespace starttls::session {

/// Returns the settings of a role. `upstream` is the mode of the upstream leg. For a downstream
/// role it is the mode in which that leg ended up.
[[nodiscard]] proto::RoleSettings role_settings(const Target& target, TlsMode upstream);

/// An upstream leg and the facts learned while it was opened.
struct UpstreamConnection {
  std::unique_ptr<Leg> leg;                 ///< null: none was connected in the end
  std::string server;                       ///< the last connected address, as text
  std::size_t address_index = 0;            ///< index in the target's addresses: the last one tried
  std::string greeting;                     ///< see UpstreamRole; "" if no role was needed
  std::string fallback_reason;              ///< see Opening
  bool refused_tls = false;                 ///< on this very connection
  std::chrono::nanoseconds connected_at{};  ///< Loop::precise_now; 0 = never
  std::uint16_t last_reply = 0;             ///< see SessionRecord::on_reply
  bool warm = false;                        ///< it was ready before a session needed it
  std::optional<proto::LoginReport> login = {};  ///< the result of ours; nothing: there was none
};

/// The attempt that follows one that has failed.
enum class NextAttempt : std::uint8_t {
  next_address,
  smaller_hello,  ///< the same address, because it has not answered a large ClientHello
};

/// Events of an opener. The opener lives until its owner drops it, which must not happen inside
/// these calls.
class OpenerEvents {
 public:
  virtual void on_opening(OpeningStage stage) = 0;
  /// Reports that an address has failed, and that another attempt follows.
  virtual void on_attempt_failed(const Error& error, NextAttempt next) = 0;
  /// Reports that the leg is ready. Bytes of the server that came after the greeting wait in its
  /// `input()`.
  virtual void on_opened() = 0;
  virtual void on_not_opened(const Error& error) = 0;

 protected:
  ~OpenerEvents() = default;
};

/// Hooks for a probe, which looks at a server instead of serving a client.
struct Observation {
  /// Wraps each role that the opener makes.
  std::function<std::unique_ptr<proto::UpstreamRole>(std::unique_ptr<proto::UpstreamRole>)>
      wrap_role;
  /// Returns the bytes that a connection begins with, before TLS.
  std::function<std::string(net::Stream&)> preface;
};

/// Lives on its worker's thread.
class UpstreamOpener final : LegEvents {
 public:
  /// Time for a server to send, unasked, the bytes that its protocol wants after TLS (ManageSieve).
  static constexpr std::chrono::milliseconds kPushWait{2000};
  /// Time for the first byte in the clear, if the server's port is for TLS from the first byte.
  static constexpr std::chrono::milliseconds kFirstByteWait{5000};

  /// `give_up_at` is on the loop's clock, for all addresses together. `target` outlives us. With an
  /// `observation`, which outlives us too, a role is conducted in every mode, and the leg keeps the
  /// server's certificates.
  UpstreamOpener(WorkerContext context, Target& target, std::chrono::milliseconds give_up_at,
                 OpenerEvents& events, const Observation* observation = nullptr);
  UpstreamOpener(const UpstreamOpener&) = delete;
  UpstreamOpener& operator=(const UpstreamOpener&) = delete;

  /// Sets the bytes that every connection begins with, before TLS. Called before `start`.
  void begin_with(std::string bytes) { preface_ = std::move(bytes); }
  /// Opens a leg without TLS: see Opening. Called before `start`.
  void stay_in_the_clear() noexcept { opening_.stay_in_the_clear(); }
  /// Keeps a connection that another one replaces, until it is closed cleanly or we are destroyed.
  /// From outside called before `start`.
  void keep_until_it_ends(std::unique_ptr<Leg> leg);
  /// Begins. It may report the first stage, and even the end, from inside this call.
  void start();
  /// Ends the opening, at any stage, and hands over its connection. The leg reports to `events`
  /// from here on. No event of ours follows.
  [[nodiscard]] UpstreamConnection take(LegEvents& events);

  /// Returns the opening's state, for logs: see Opening.
  [[nodiscard]] std::string_view state() const noexcept { return opening_.state(); }
  /// Returns the server's words after the error `greeting_refused`: see UpstreamRole::greeting.
  [[nodiscard]] std::string refusal() const { return opening_.greeting(); }
  [[nodiscard]] const Address& address() const noexcept {
    return target_.addresses()[opening_.address_index()];
  }

 private:
  // LegEvents
  void on_leg_input(Leg& leg) override;
  void on_leg_data(Leg&, std::span<const std::byte>) override {}
  void on_leg_secured(Leg& leg) override;
  void on_leg_end(Leg& leg, LegEnd end, std::string_view how) override;
  void on_leg_drained(Leg&) override {}
  /// Does nothing, because the server's last words must still be read.
  void on_leg_write_failed(Leg&, Error) override {}
  void on_leg_failed(Leg& leg, Error error) override;
  void on_leg_finished(Leg& leg) override;

  void arm_deadline();
  void on_deadline();
  [[nodiscard]] std::chrono::milliseconds time_left() const;
  [[nodiscard]] Opening::Policy policy();
  [[nodiscard]] std::unique_ptr<proto::UpstreamRole> make_role(bool tls_refused) const;

  void connect();
  void on_connected(Result<net::Connector::Connected> connected);
  void start_tls();
  void perform(Opening::Step step);
  void log_in();
  void hear_again();
  void note_login();
  void report_stage();
  void attempt_failed(const Error& error);
  void report_opened();
  void give_up(const Error& error);

  [[nodiscard]] bool is_current(const Leg& leg) const noexcept {
    return !over_ && &leg == leg_.get();
  }

  net::Loop& loop_;
  metrics::Tally& metrics_;
  Target& target_;
  std::chrono::milliseconds give_up_at_;
  OpenerEvents& events_;
  const Observation* observation_;  // null: a session opens the leg
  WorkerContext context_;
  Opening opening_;
  net::Timer deadline_;
  std::unique_ptr<net::Connector> connector_;
  std::unique_ptr<Leg> leg_;
  std::unique_ptr<Leg> retired_;  // of an earlier attempt, saying goodbye; at most one
  std::optional<net::Timer> forget_retired_;
  std::unique_ptr<CredentialsDesk> desk_;  // null: the role has asked for no login yet
  std::string preface_;
  std::string server_;
  std::optional<proto::LoginReport> login_;  // on the connected server
  std::chrono::nanoseconds connected_at_{};
  std::chrono::nanoseconds handshake_at_{};
  std::uint16_t last_reply_ = 0;  // of the connected server
  OpeningStage reported_ = OpeningStage::connecting;
  bool over_ = false;
};

}  // namespace starttls::session
