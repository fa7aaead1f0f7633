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
#include "proxy/state.h"
#include "proxy/supervisor/inherited_sockets.h"
#include "proxy/supervisor/notifier.h"

namespace starttls {

/// Makes the state that is to replace `previous`; what is wrong goes to `problems`.
using LoadState =
    std::function<std::optional<State>(const State& previous, std::vector<std::string>& problems)>;

/// The control loop, then one loop per worker.
using Loops = std::vector<std::unique_ptr<net::Loop>>;

/// Gives up the rights that were for starting only. Addresses are bound, and no thread runs yet.
using Confine = std::function<Result<>()>;

/// Serves `state`, which was read after `loaded_at`, until a signal ends it: TERM or INT drain, a
/// second one ends at once, HUP reloads, USR1 reopens the log. Returns the process's exit status.
/// What listens on `inherited` sockets has been checked, and is by `load`. The supervisor behind
/// `notifier` is told what goes on.
/// There are as many `loops` as `state` has workers, and one more.
/// Errors: system (an address that cannot be bound), or those of `confine`; nothing serves then.
[[nodiscard]] Result<int> serve(State state, FileWatch::Clock::time_point loaded_at,
                                const Loops& loops, const LoadState& load, const Confine& confine,
                                const InheritedSockets& inherited, Notifier& notifier,
                                log::Logger& log);

}  // namespace starttls
