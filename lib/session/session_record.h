#pragma once

// The reports of a session: its events, one line when it ends, and a row on the admin page. Field
// names and texts are part of the contract with everything that reads the log.

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "lib/base/error.h"
#include "lib/base/log.h"
#include "lib/base/side.h"
#include "lib/metrics/outcome.h"
#include "lib/proto/role.h"
#include "lib/session/service.h"
#include "lib/session/traffic.h"
#include "lib/tls/engine.h"

namespace starttls::session {

/// A row of the page of sessions. Texts are as in the log.
struct SessionStatus {
  std::string session;
  std::string service;
  std::string client;
  std::string server;            ///< "" before one was reached
  std::string downstream_tls;    ///< "TLSv1.3", or "none"
  std::string downstream_group;  ///< "X25519"; "" without TLS
  std::string upstream_tls;
  std::string upstream_group;
  std::string phase;
  std::string state;  ///< the event that it waits for, in its protocol's words
  std::chrono::nanoseconds age{};
  std::uint64_t bytes_to_server = 0;
  std::uint64_t bytes_to_client = 0;
};

/// A session that has failed, with the words of its line.
struct FailedSession {
  std::string session;
  std::string service;
  Outcome outcome;
  std::string reason;
};

/// The TLS facts of both legs; nothing: the leg is in the clear, or there is none.
struct LegFacts {
  std::optional<tls::Facts> downstream = {};
  std::optional<tls::Facts> upstream = {};
  // Both views point into the client's leg, which outlives this struct.
  std::string_view sni = {};                 ///< the name that the client asks for
  std::string_view client_certificate = {};  ///< the subject of the one that was verified
};

/// The record of one session. All times are those of Loop::precise_now.
class SessionRecord {
 public:
  using Time = std::chrono::nanoseconds;

  /// Counts the session as open. `log`, `service` and `tally` outlive us.
  SessionRecord(log::Logger& log, const Service& service, metrics::Tally& tally, std::string id,
                std::string client, Time now);

  [[nodiscard]] const std::string& client() const noexcept { return client_; }
  [[nodiscard]] Traffic& traffic() noexcept { return traffic_; }
  /// Returns the counters of the session's service and worker.
  [[nodiscard]] metrics::Tally& tally() const noexcept { return traffic_.tally(); }

  /// Notes the client that a PROXY header has named; `dialled` is the address that it connected to.
  void on_conveyed(std::string client, std::string_view dialled);
  /// Notes that a server was connected at `at`. Later calls only change the name.
  void on_connected(std::string server, Time at, bool warm = false);
  /// Notes the code of the server's last reply; 0 changes nothing.
  void on_reply(std::uint16_t code) noexcept {
    if (code != 0) last_reply_ = code;
  }
  [[nodiscard]] std::uint16_t last_reply() const noexcept { return last_reply_; }
  /// Notes the result of a login. If the last one has failed, so has a session that ends well
  /// otherwise, or because a peer leaves.
  void on_login(const proto::LoginReport& report);
  /// Notes that the client is greeted, or that the plain relay begins. Later calls change nothing.
  void on_greeted(Time at);
  [[nodiscard]] Time greeted_at() const noexcept { return greeted_at_; }

  /// `words` is the reason of a failure. If the outcome is ok, it is only a note.
  void set_outcome(Outcome outcome, std::string words);
  [[nodiscard]] Outcome outcome() const noexcept { return outcome_; }

  /// How the log treats repetitions of the same event: it counts them, or writes each one.
  enum class Repetition : std::uint8_t { counted, written };
  struct Event {
    std::string_view message;
    Side side;
    std::string_view peer;
    std::string_view state;
    Repetition repetition = Repetition::counted;
    log::Level level = log::Level::warn;
  };
  /// Writes a line about the session.
  void log_event(const Event& event, const Error& error);
  void log_phase(std::string_view from, std::string_view to);
  /// Settles the outcome and counts the session as ended. Called once, before `log_end`.
  void end(Time now);
  /// Writes the session's line. `upstream` has the settings that its server leg had to meet. Called
  /// last, so the counts have the session before anyone can read its line.
  void log_end(const config::Upstream& upstream, const LegFacts& facts, Time now) const;

  [[nodiscard]] SessionStatus status(std::string_view phase, std::string_view state,
                                     const LegFacts& facts, Time now) const;
  /// Returns the failure of a session that has ended; nothing if it has ended well.
  [[nodiscard]] std::optional<FailedSession> failure() const;
  [[nodiscard]] bool writes_events() const noexcept { return log_.enabled(log::Level::warn); }

 private:
  log::Logger& log_;
  const Service& service_;
  Traffic traffic_;
  std::string id_;
  std::string client_;
  std::string server_;
  Time born_at_;
  Time connected_at_{};
  Time greeted_at_{};
  Outcome outcome_ = Outcome::ok();
  std::uint16_t last_reply_ = 0;
  std::string words_;
  std::string login_;  // "NAME->USER" of the last login
  std::string_view login_mechanism_;
  std::optional<Error> login_failure_;
};

}  // namespace starttls::session
