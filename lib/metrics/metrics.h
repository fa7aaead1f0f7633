#pragma once

// The proxy's counters, and the page of them that Prometheus reads.
//
// Theory of operation.
//
// Each worker has its own tally for each service, and only that worker writes to it. So counting is
// one plain load and store, without a lock, an allocation or a name. A page sums the tallies of all
// workers while they go on counting. All labels here except names from the configuration are enums.
// So nothing that a peer does makes a new series; the servers of intercepted clients are bounded
// (server_certificates.h). All series exist from the start, at zero: a rate cannot see the first 1.
//
// A service's tallies live while the current configuration uses them, or a session that began under
// an earlier one. So a service that stays over a reload goes on counting. One that is removed
// disappears with its last session. One that comes back later starts at zero, which Prometheus
// takes for a restart.
//
// The upstream opener and the warm pool count into the tally of their service and their worker.
// Connections that the pool opens count like all others. The rest of the page is not counted here:
// the caller of `text` gives it as a Snapshot.

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "lib/base/counter.h"
#include "lib/base/error.h"
#include "lib/base/login_settings.h"
#include "lib/base/side.h"
#include "lib/base/tls_group.h"
#include "lib/base/tls_version.h"
#include "lib/base/utc.h"
#include "lib/metrics/outcome.h"
#include "lib/metrics/process_stats.h"
#include "lib/metrics/server_certificates.h"

namespace starttls::metrics {

enum class Direction : std::uint8_t { to_server, to_client };
enum class Resumed : std::uint8_t { no, yes };

/// The two halves of a login: the client's at the proxy, and the proxy's at the server.
enum class LoginSide : std::uint8_t { client, server };
enum class LoginOutcome : std::uint8_t { ok, client_login, login };
/// Why a source gave no secret.
enum class SecretFailure : std::uint8_t {
  unreadable,   ///< the file cannot be read
  empty,        ///< its first line is empty
  malformed,    ///< it is too long, or has bytes that no secret may have
  timeout,      ///< it did not come in time
  busy,         ///< too many requests wait
  unreachable,  ///< the socket does not answer, or no program can be run
  failed,       ///< the program has ended with a failure
};

/// A label for some errors. Any other error counts as "other".
template <Errc... codes>
class Reason {
 public:
  static constexpr std::array<std::string_view, sizeof...(codes) + 1> kNames{name(codes)...,
                                                                             "other"};

  // Not explicit, because the caller that counts has an error's code.
  constexpr Reason(Errc code) noexcept {
    for (const Errc each : {codes...}) {
      if (each == code) return;
      ++index_;
    }
  }
  [[nodiscard]] constexpr std::size_t index() const noexcept { return index_; }

 private:
  std::size_t index_ = 0;
};

using ConnectReason = Reason<Errc::unreachable, Errc::timeout, Errc::system>;
using HandshakeReason =
    Reason<Errc::handshake, Errc::certificate, Errc::timeout, Errc::closed, Errc::system>;

/// Describes a type as a label: its key, the names of its values, and the index of a value's name.
template <class T>
struct LabelOf;

template <>
struct LabelOf<Side> {
  static constexpr std::string_view kKey = "leg";
  static constexpr auto kNames = std::to_array(kSideNames);
  static constexpr std::size_t index(Side side) noexcept { return static_cast<std::size_t>(side); }
};
template <>
struct LabelOf<Direction> {
  static constexpr std::string_view kKey = "direction";
  static constexpr std::array<std::string_view, 2> kNames{"to_server", "to_client"};
  static constexpr std::size_t index(Direction d) noexcept { return static_cast<std::size_t>(d); }
};
template <>
struct LabelOf<Resumed> {
  static constexpr std::string_view kKey = "resumed";
  static constexpr std::array<std::string_view, 2> kNames{"false", "true"};
  static constexpr std::size_t index(Resumed r) noexcept { return static_cast<std::size_t>(r); }
};
template <>
struct LabelOf<TlsVersion> {
  static constexpr std::string_view kKey = "version";
  static constexpr auto kNames = std::to_array(kTlsVersionNames);
  static constexpr std::size_t index(TlsVersion v) noexcept { return static_cast<std::size_t>(v); }
};
template <>
struct LabelOf<TlsGroup> {
  static constexpr std::string_view kKey = "group";
  static constexpr auto kNames = std::to_array(kTlsGroupNames);
  static constexpr std::size_t index(TlsGroup group) noexcept {
    return static_cast<std::size_t>(group);
  }
};
template <>
struct LabelOf<Attack> {
  static constexpr std::string_view kKey = "kind";
  static constexpr auto kNames = std::to_array(kAttackNames);
  static constexpr std::size_t index(Attack kind) noexcept {
    return static_cast<std::size_t>(kind);
  }
};
template <>
struct LabelOf<Outcome> {
  static constexpr std::string_view kKey = "outcome";
  static constexpr auto kNames = Outcome::kNames;
  static constexpr std::size_t index(Outcome outcome) noexcept { return outcome.index(); }
};
template <Errc... codes>
struct LabelOf<Reason<codes...>> {
  static constexpr std::string_view kKey = "reason";
  static constexpr auto kNames = Reason<codes...>::kNames;
  static constexpr std::size_t index(Reason<codes...> reason) noexcept { return reason.index(); }
};

template <>
struct LabelOf<LoginSide> {
  static constexpr std::string_view kKey = "side";
  static constexpr std::array<std::string_view, 2> kNames{"client", "server"};
  static constexpr std::size_t index(LoginSide side) noexcept {
    return static_cast<std::size_t>(side);
  }
};
template <>
struct LabelOf<Mechanism> {
  static constexpr std::string_view kKey = "mechanism";
  // All but `automatic`, which no login uses.
  static constexpr auto kNames = [] {
    std::array<std::string_view, kMechanismCount - 1> names{};
    for (std::size_t i = 0; i < names.size(); ++i) names[i] = name(static_cast<Mechanism>(i + 1));
    return names;
  }();
  static constexpr std::size_t index(Mechanism mechanism) noexcept {
    return static_cast<std::size_t>(mechanism) - 1;
  }
};
template <>
struct LabelOf<LoginOutcome> {
  static constexpr std::string_view kKey = "outcome";
  static constexpr std::array<std::string_view, 3> kNames{"ok", "client_login", "login"};
  static constexpr std::size_t index(LoginOutcome outcome) noexcept {
    return static_cast<std::size_t>(outcome);
  }
};
template <>
struct LabelOf<SecretFailure> {
  static constexpr std::string_view kKey = "reason";
  static constexpr std::array<std::string_view, 7> kNames{
      "unreadable", "empty", "malformed", "timeout", "busy", "unreachable", "failed"};
  static constexpr std::size_t index(SecretFailure reason) noexcept {
    return static_cast<std::size_t>(reason);
  }
};

/// One cell for each combination of the labels' values.
template <class Cell, class... Labels>
class Table {
 public:
  using Total = typename Cell::Total;
  static constexpr std::size_t kSize = (std::size_t{1} * ... * LabelOf<Labels>::kNames.size());

  [[nodiscard]] Cell& at(Labels... labels) noexcept {
    std::size_t index = 0;
    ((index = index * LabelOf<Labels>::kNames.size() + LabelOf<Labels>::index(labels)), ...);
    return cells_[index];
  }
  /// Returns all cells. The last label's value changes first.
  [[nodiscard]] const std::array<Cell, kSize>& cells() const noexcept { return cells_; }

 private:
  std::array<Cell, kSize> cells_;
};

/// The bounds separate a slow line (a handshake of two seconds) from a busy proxy (two
/// milliseconds).
inline constexpr std::array<std::chrono::microseconds, 12> kHandshakeBounds{
    std::chrono::microseconds{1'000},     std::chrono::microseconds{2'500},
    std::chrono::microseconds{5'000},     std::chrono::microseconds{10'000},
    std::chrono::microseconds{25'000},    std::chrono::microseconds{50'000},
    std::chrono::microseconds{100'000},   std::chrono::microseconds{250'000},
    std::chrono::microseconds{500'000},   std::chrono::microseconds{1'000'000},
    std::chrono::microseconds{2'500'000}, std::chrono::microseconds{10'000'000}};
/// The bounds begin with a warm connection, which takes no time. They end with several servers that
/// do not answer.
inline constexpr std::array<std::chrono::microseconds, 12> kPreludeBounds{
    std::chrono::milliseconds{1},    std::chrono::milliseconds{5},   std::chrono::milliseconds{10},
    std::chrono::milliseconds{25},   std::chrono::milliseconds{50},  std::chrono::milliseconds{100},
    std::chrono::milliseconds{250},  std::chrono::milliseconds{500}, std::chrono::seconds{1},
    std::chrono::milliseconds{2500}, std::chrono::seconds{10},       std::chrono::seconds{30}};
/// The bounds begin with a message of one line. They end with an IMAP client that stays all day.
inline constexpr std::array<std::chrono::microseconds, 12> kSessionBounds{
    std::chrono::milliseconds{10}, std::chrono::milliseconds{50}, std::chrono::milliseconds{250},
    std::chrono::seconds{1},       std::chrono::seconds{5},       std::chrono::seconds{15},
    std::chrono::minutes{1},       std::chrono::minutes{5},       std::chrono::minutes{30},
    std::chrono::hours{2},         std::chrono::hours{8},         std::chrono::hours{24}};

/// The numbers that one worker keeps for one service.
struct Tables {
  Table<Gauge> sessions_open;
  Table<Counter, Outcome> sessions;
  Table<Histogram<kSessionBounds>> session_duration;
  Table<Counter, Direction> bytes;
  Table<Counter, ConnectReason> connect_failures;
  Table<Counter, Side, TlsVersion, Resumed, TlsGroup> handshakes;
  Table<Counter, Side, HandshakeReason> handshake_failures;
  Table<Histogram<kHandshakeBounds>, Side> handshake_duration;
  Table<Histogram<kPreludeBounds>> prelude_duration;
  Table<Counter, Side> plaintext_fallbacks;
  Table<Counter, Side, Attack> attacks;
  Table<Counter, Side> truncations;
  Table<Gauge> warm_connections;
  Table<Counter, LoginSide, Mechanism, LoginOutcome> logins;
  Table<Counter, SecretFailure> secret_failures;
};

/// A completed handshake.
struct Handshake {
  Side side;
  TlsVersion version;
  TlsGroup group;
  bool resumed;
  std::chrono::nanoseconds took;
};

/// The counts of one worker for one service. Only that worker's thread writes. Any thread may read.
class alignas(64) Tally {
 public:
  /// Counts a new session. Called once per session, when it is made.
  void session_opened() noexcept { tables_.sessions_open.at().add(1); }
  /// Counts the end of a session. Called once per session, when it ends.
  void session_ended(Outcome outcome, std::chrono::nanoseconds lasted) noexcept {
    tables_.sessions_open.at().add(-1);
    tables_.sessions.at(outcome).add();
    tables_.session_duration.at().observe(lasted);
  }
  /// Counts a prelude. Called once per session that greets its client, at that moment.
  void prelude_ended(std::chrono::nanoseconds took) noexcept {
    tables_.prelude_duration.at().observe(took);
  }
  /// Counts plaintext as it passes, including that of the prelude and the go-ahead.
  void bytes(Direction direction, std::size_t count) noexcept {
    tables_.bytes.at(direction).add(count);
  }
  /// Counts a configured address without a connection. Called once per such address, also after a
  /// time-out.
  void connect_failed(ConnectReason reason) noexcept { tables_.connect_failures.at(reason).add(); }
  /// Counts a handshake when the leg is secured.
  void handshake_done(const Handshake& done) noexcept {
    const auto resumed = done.resumed ? Resumed::yes : Resumed::no;
    tables_.handshakes.at(done.side, done.version, resumed, done.group).add();
    tables_.handshake_duration.at(done.side).observe(done.took);
  }
  /// Counts a handshake that ends otherwise, also at a deadline and if a client certificate is
  /// refused.
  void handshake_failed(Side side, HandshakeReason reason) noexcept {
    tables_.handshake_failures.at(side, reason).add();
  }
  /// Counts an opportunistic leg that stays in the clear.
  void plaintext_fallback(Side side) noexcept { tables_.plaintext_fallbacks.at(side).add(); }
  /// Counts an error with the code `attack`.
  void attacked(Side side, Attack kind) noexcept { tables_.attacks.at(side, kind).add(); }
  /// Counts a leg that is cut, inside a line or not.
  void truncated(Side side) noexcept { tables_.truncations.at(side).add(); }
  /// Adds `change` to the number of ready connections. It is negative if there are fewer now.
  void warm_connections(int change) noexcept { tables_.warm_connections.at().add(change); }
  /// Counts a login that has ended, once for each side that took part. `mechanism` is not
  /// `automatic`.
  void logged_in(LoginSide side, Mechanism mechanism, LoginOutcome outcome) noexcept {
    tables_.logins.at(side, mechanism, outcome).add();
  }
  /// Counts a request for a secret that gave none.
  void secret_failed(SecretFailure reason) noexcept { tables_.secret_failures.at(reason).add(); }

  [[nodiscard]] const Tables& tables() const noexcept { return tables_; }

 private:
  Tables tables_;
};

/// The sessions of one service, of all workers.
struct SessionCounts {
  std::int64_t open = 0;
  std::array<std::uint64_t, Outcome::kNames.size()> ended{};  ///< by the outcome's index
};

/// The tallies of one service, one per worker, and the certificates of its servers.
class Service {
 public:
  explicit Service(unsigned workers) : tallies_(workers) {}

  [[nodiscard]] Tally& of_worker(unsigned index) noexcept { return tallies_[index]; }
  [[nodiscard]] const std::vector<Tally>& tallies() const noexcept { return tallies_; }
  [[nodiscard]] SessionCounts session_counts() const noexcept;
  [[nodiscard]] ServerCertificates& server_certificates() noexcept { return server_certificates_; }

 private:
  std::vector<Tally> tallies_;  // never grows, so a Tally never moves
  ServerCertificates server_certificates_;
};

/// The time when a certificate of ours expires, or its issuer's in the chain if that is earlier.
struct CertificateExpiry {
  std::string service;
  Side side;
  std::string name;  ///< which of the leg's certificates
  UnixTime not_after;
};

/// The time when the certificate of a server expires, as the server has shown it.
struct ServerCertificateExpiry {
  std::string service;
  std::string server;  ///< its address
  UnixTime not_after;
};

/// The time when a token of a login expires.
struct SecretExpiry {
  std::string service;
  std::string account;          ///< at the server
  std::optional<UnixTime> end;  ///< nothing: it is not known
};

/// Facts that no tally counts, as they are when a page is requested.
struct Snapshot {
  std::uint64_t buffer_bytes = 0;    ///< BufferPool::used_bytes of all workers
  std::uint64_t lost_log_lines = 0;  ///< Logger::lost_lines
  bool last_reload_successful = true;
  bool draining = false;
  /// The time when the configuration in use was loaded. The start counts as a load.
  std::chrono::system_clock::time_point last_reload = {};
  /// If two have the same labels, the page shows the one that ends first.
  std::vector<CertificateExpiry> certificates = {};
  std::vector<ServerCertificateExpiry> server_certificates = {};  ///< the same
  std::vector<SecretExpiry> secrets = {};  ///< if two have the same labels, the first one is shown
  ProcessStats process = {};
};

/// The versions that the page shows.
struct BuildInfo {
  std::string version;
  std::string libuv;
  std::string tls_library;
  std::string record_cipher;  ///< the library that seals and opens records
};

/// The services that are counted. Thread-safe. The hot path calls none of its functions.
class Registry {
 public:
  Registry(unsigned workers, BuildInfo build);
  Registry(const Registry&) = delete;
  Registry& operator=(const Registry&) = delete;

  /// Returns the number of tallies of each service.
  [[nodiscard]] unsigned workers() const noexcept { return workers_; }

  /// Returns the service of that name: the existing one while any caller holds it, otherwise a new
  /// one.
  [[nodiscard]] std::shared_ptr<Service> service(const std::string& name);

  /// Returns the whole page. Families, services and series have the same order each time.
  [[nodiscard]] std::string text(const Snapshot& facts) const;

 private:
  unsigned workers_;
  BuildInfo build_;
  mutable std::mutex mutex_;  // guards services_
  std::map<std::string, std::weak_ptr<Service>> services_;
};

}  // namespace starttls::metrics
