#pragma once

// All that a configuration amounts to. It is built whole, with nothing bound and nothing changed,
// before any of it is used: at start, for --check, and again for each reload.

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "lib/config/config.h"
#include "lib/config/places.h"
#include "lib/metrics/metrics.h"
#include "lib/session/service.h"
#include "proxy/cli.h"
#include "proxy/confinement/user.h"

namespace starttls {

using Services = std::vector<std::shared_ptr<const session::Service>>;

struct State {
  config::Config config;
  config::Places places;                       ///< of `config`
  Services services;                           ///< not empty
  std::shared_ptr<metrics::Registry> metrics;  ///< of the first state; those that replace it go on
  /// The system's name for this machine. One object for the process: it may become better known
  /// while sessions run (see system_name.h).
  std::shared_ptr<session::OwnName> system_name;
  std::optional<User> user;  ///< proxy.user; only of the first state
};

/// Reads the configuration and all files that it names. `previous` (or null) is the state that this
/// one is to replace: sessions with servers whose policy stays are resumed. Without one root takes
/// on the groups of proxy.user. Whatever is wrong is appended to `problems`, all of it, one line
/// each; nothing is returned then.
[[nodiscard]] std::optional<State> load_state(const CommandLine& command, const State* previous,
                                              std::vector<std::string>& problems);

/// What Logger::open says of `log.file`, as a problem of the configuration.
[[nodiscard]] std::string log_file_problem(const State& state, const Error& error);

}  // namespace starttls
