#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <future>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

#include "lib/base/log.h"
#include "lib/net/listener.h"
#include "lib/net/loop.h"
#include "lib/net/resolver.h"
#include "lib/net/timer.h"
#include "lib/net/work_pool.h"
#include "lib/session/credentials/secret_store.h"
#include "lib/session/service.h"
#include "lib/session/session.h"
#include "lib/session/upstream/warm_pool.h"
#include "proxy/recent_failures.h"

namespace starttls {

/// The most refused clients that may stay until their FIN comes. Beyond this number, the answer may
/// be lost if the client has sent something. A larger number would only help attackers.
inline constexpr std::size_t kMaxLingering = 64;

/// Data that all workers of a process share. Everything is set before they start.
struct Shared {
  log::Logger& log;
  net::Resolver& resolver;
  session::SecretStore& secrets;
  std::atomic<std::size_t> max_sessions{0};
  bool sandboxed = false;                  ///< workers give up all files
  std::uint32_t run_id = 0;                ///< distinguishes the session ids of two runs
  std::atomic<std::size_t> sessions{0};    ///< without refused ones
  std::atomic<std::size_t> lingering{0};   ///< refused ones, until the client has left
  std::atomic<bool> resets_logged{false};  ///< logged once that the end of a listener resets some
  net::WorkPool work{};                    ///< has threads only if a service has a login
  session::LoopGuard loop_guard{};
  session::ClientTable clients{};
  RecentFailures failures{};
};

/// A loop's thread, its listeners and its sessions.
class Worker final : session::SessionOwner {
 public:
  /// `on_drained` is called on the worker's thread, once, when `drain` has come to its end.
  Worker(Shared& shared, net::Loop& loop, unsigned index, std::function<void()> on_drained);
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;
  /// Joins the thread. A worker that runs must have drained.
  ~Worker();

  /// Starts the thread, which waits for `run`. Errors: system.
  [[nodiscard]] Result<> start();

  /// The changes that a new configuration makes to one worker's listeners. Listeners that are in
  /// neither list are closed. Running sessions keep the service they started with.
  struct ListenerChange {
    struct NewListener {
      std::uint64_t id;
      net::Socket socket;
      std::shared_ptr<const session::Service> service;
      net::Holder holder = net::Holder::us;
    };
    std::vector<std::pair<std::uint64_t, std::shared_ptr<const session::Service>>> kept;
    std::vector<NewListener> opened;
  };

  /// Opens the first listeners. Call it before `run`. Errors: system.
  [[nodiscard]] Result<> listen(ListenerChange change);
  /// Serves. Call it once, after `start`.
  void run();
  /// Changes the listeners. Call it from any thread, after `run`.
  void change_listeners(ListenerChange change);
  /// Stops accepting, lets sessions finish for up to `patience`, then ends them. Call it from any
  /// thread.
  void drain(std::chrono::milliseconds patience);

  /// Returns the bytes of buffers in use. Call it from any thread.
  [[nodiscard]] std::size_t buffer_bytes() noexcept { return loop_.pool().used_bytes(); }
  /// Receives the status of the listed sessions, and the number of open ones.
  using OnListed =
      std::function<void(std::vector<session::SessionStatus> sessions, std::size_t open)>;
  /// Lists at most `limit` sessions. Call it from any thread, after `run`. `on_listed` is called
  /// soon, on the worker's thread. It is never called if the worker has drained.
  void list_sessions(std::size_t limit, OnListed on_listed);

 private:
  void on_client(net::Listener::Connection client,
                 const std::shared_ptr<const session::Service>& service);
  void on_session_ended(session::Session& session) override;
  [[nodiscard]] bool may_linger(session::Session& session) override;
  [[nodiscard]] std::optional<session::UpstreamConnection> take_warm(
      const session::Service& service, session::LegEvents& events) override;
  void keep_warm();
  struct Listening {
    std::unique_ptr<net::Listener> listener;
    std::shared_ptr<const session::Service> service;
    std::unique_ptr<net::Timer> last_call{};
  };
  using Listenings = std::map<std::uint64_t, Listening>;  // a map, since its elements stay in place

  [[nodiscard]] Result<> apply(ListenerChange& change);
  void begin_drain(std::chrono::milliseconds patience);
  void end_listeners(Listenings all, std::chrono::milliseconds patience);
  void take_last(std::uint64_t id);
  void finish_drain_if_empty();

  Shared& shared_;
  unsigned index_;
  std::function<void()> on_drained_;
  net::Loop& loop_;
  const session::SessionContext context_;
  Listenings listeners_;
  Listenings ending_;  // closed to new clients
  std::unordered_map<session::Session*, std::unique_ptr<session::Session>> sessions_;
  std::unordered_set<session::Session*> lingering_;  // those of `sessions_` that do not count
  /// One pool per present service. A session that began under an earlier configuration finds none.
  std::unordered_map<const session::Service*, std::unique_ptr<session::WarmPool>> warm_;
  std::unique_ptr<net::Timer> drain_deadline_;
  std::uint64_t next_session_ = 0;
  std::promise<bool> may_run_;  // what the thread waits for; false: it ends at once
  bool runs_ = false;           // of the thread that calls `run`
  std::thread thread_;
};

}  // namespace starttls
