#pragma once

// Theory of operation.
//
// A pool keeps upstream connections of one service ready. They are connected, past TLS and past all
// that the policy wants before a client is greeted (UpstreamOpener, as for any session). A session
// takes one and greets its client at once. If there is none, it opens its own as usual.
//
// A connection that waits is owned by an entry, which listens to it. The server has nothing to send
// then. If it does, that is a goodbye or an attack, so the connection is dropped, and no client
// ever gets it. The kernel may know more of a connection than we do: waiting bytes, or an end.
// `take` checks that, and no client gets such a connection either. TLS work, such as a new session
// ticket, is done meanwhile.
//
// Events only change states. Only `tick`, from the timer, decides the next step: it forgets
// connections that are gone, replaces those that are too old, and opens missing ones. WarmPlan
// decides when, and how many.

#include <cstddef>
#include <memory>
#include <optional>
#include <vector>

#include "lib/base/log.h"
#include "lib/net/loop.h"
#include "lib/net/timer.h"
#include "lib/session/service.h"
#include "lib/session/upstream/opener.h"
#include "lib/session/upstream/warm_plan.h"

namespace starttls::session {

/// A pool of warm connections. Lives on its worker's thread, and is never destroyed from inside a
/// call of its connections.
class WarmPool {
 public:
  /// Time for a server to answer our goodbye.
  static constexpr std::chrono::seconds kLinger{2};

  /// Begins to fill as soon as the loop runs. Failures are logged once, until it works again.
  WarmPool(WorkerContext context, log::Logger& log, std::shared_ptr<const Service> service);
  WarmPool(const WarmPool&) = delete;
  WarmPool& operator=(const WarmPool&) = delete;
  /// Says goodbye on all connections.
  ~WarmPool();

  /// Returns a ready connection, if there is one. It reports to `events` from here on.
  [[nodiscard]] std::optional<UpstreamConnection> take(LegEvents& events);

  /// True if `service` would open the same connections.
  [[nodiscard]] bool suits(const Service& service) const noexcept;
  /// Takes the service of a reload, which has the same policy under a new name.
  void rename(std::shared_ptr<const Service> service) { service_ = std::move(service); }

 private:
  class Entry;

  void tick();
  void wake() { timer_.start(std::chrono::milliseconds{0}); }
  void schedule();
  [[nodiscard]] double chance();

  void on_ready();
  void on_failed(const Error& error, const Address& address);
  void on_lost(std::chrono::milliseconds age, std::string_view server, std::string_view reason);

  WorkerContext context_;
  net::Loop& loop_;
  metrics::Tally& metrics_;  // of the service
  log::Logger& log_;
  std::shared_ptr<const Service> service_;
  WarmPlan plan_;
  net::Timer timer_;
  std::vector<std::unique_ptr<Entry>> entries_;  // the youngest last
  std::uint32_t chances_;
  bool failing_ = false;  // connections cannot be opened, and that has been logged
};

}  // namespace starttls::session
