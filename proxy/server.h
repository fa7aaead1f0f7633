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

/// Serves `state`, which was read after `loaded_at`, until a signal ends it. TERM or INT drain, a
/// second one ends at once, HUP reloads, USR1 reopens the log. Returns the process's exit status.
/// The services on `inherited` sockets have been checked, and `reload` checks those of a new state.
/// `notifier` reports to the supervisor. `launcher` runs the programs of logins, if there are any.
/// If it ends, so does the process, after a drain. There are as many `loops` as `state` has
/// workers, and one more. Errors: system (an address that cannot be bound), or those of `confine`;
/// nothing serves then.
[[nodiscard]] Result<int> serve(State state, FileWatch::Clock::time_point loaded_at,
                                const Loops& loops, const ReloadState& reload,
                                const Confine& confine, const InheritedSockets& inherited,
                                Notifier& notifier, std::optional<launcher::Process> launcher,
                                log::Logger& log);

}  // namespace starttls
