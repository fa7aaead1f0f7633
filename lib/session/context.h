#pragma once

#include <optional>

#include "lib/base/log.h"
#include "lib/net/loop.h"
#include "lib/net/resolver.h"
#include "lib/net/work_pool.h"
#include "lib/session/client/table.h"
#include "lib/session/service.h"
#include "lib/session/upstream/loop_guard.h"
#include "lib/session/upstream/opener.h"

namespace starttls::session {

class SecretStore;
class Session;

/// The owner of sessions: a worker.
class SessionOwner {
 public:
  /// Takes note that the session has ended. Called once. The session must be erased later, from the
  /// loop, not inside this call.
  virtual void on_session_ended(Session& session) = 0;
  /// True if a refused client may still linger until its FIN; it has got the reason. False: there
  /// are too many such clients, and this session ends without waiting. Called at most once, before
  /// `on_session_ended`.
  [[nodiscard]] virtual bool may_linger(Session& session) = 0;
  /// Returns a ready connection to the service's server, if one is kept; its leg reports to
  /// `events`.
  [[nodiscard]] virtual std::optional<UpstreamConnection> take_warm(const Service& service,
                                                                    LegEvents& events) = 0;

 protected:
  ~SessionOwner() = default;
};

/// The parts of a worker that its sessions use. One per worker; all of it outlives them.
struct SessionContext {
  net::Loop& loop;
  net::Resolver& resolver;
  net::WorkPool& work;
  SecretStore& secrets;
  log::Logger& log;
  SessionOwner& owner;
  LoopGuard& loop_guard;
  ClientTable& clients;
  unsigned worker;  ///< the number of the worker's tally: see metrics::Service
};

}  // namespace starttls::session
