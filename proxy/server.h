#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "lib/base/error.h"
#include "lib/base/log.h"
#include "lib/net/loop.h"
#include "proxy/file_watch.h"
#include "proxy/launcher/start.h"
#include "proxy/state.h"
#include "proxy/supervisor/inherited_sockets.h"
#include "proxy/supervisor/notifier.h"

namespace starttls {

/// Makes the state that replaces `previous`. Appends everything that is wrong to `problems`.
using ReloadState = std::function<std::optional<State>(const State& previous, Reread what,
                                                       std::vector<std::string>& problems)>;

/// The control loop, then one loop per worker.
using Loops = std::vector<std::unique_ptr<net::Loop>>;

/// Gives up the rights that only a start needs. Called after addresses are bound, and before any
/// thread runs.
using Confine = std::function<Result<>()>;

/// The parts of a server. Everything that it refers to outlives it.
struct ServerSetup {
  State state;
  FileWatch::Clock::time_point loaded_at;  ///< before the files of `state` were read
  const Loops& loops;                      ///< one per worker of `state`, and one more
  const ReloadState& reload;               ///< also checks the services on inherited sockets
  const Confine& confine;
  const InheritedSockets& inherited;          ///< the services of `state` on them are checked
  Notifier& notifier;                         ///< reports to the supervisor
  std::optional<launcher::Process> launcher;  ///< runs the programs of logins, if there are any
  log::Logger& log;
};

/// Serves until a signal ends it. TERM or INT drain, a second one ends at once, HUP reloads, USR1
/// reopens the log. The end of the launcher drains, too. Returns the process's exit status. Errors:
/// system (an address that cannot be bound), or those of `confine`; nothing serves then.
[[nodiscard]] Result<int> serve(ServerSetup setup);

}  // namespace starttls
