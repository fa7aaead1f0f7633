#pragma once

// A configuration that is loaded and ready to serve: services, TLS contexts, the user to run as. It
// is built completely before any of it is used. Until then nothing is bound and nothing is changed.
// This happens at start, for --check, and again for each reload.

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "lib/config/config.h"
#include "lib/config/places.h"
#include "lib/config/problem.h"
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
  std::shared_ptr<metrics::Registry> metrics;  ///< made by the first state; later states share it
  /// The system's name for this machine. One object per process: a better name may be found while
  /// sessions run (see system_name.h).
  std::shared_ptr<session::OwnName> system_name;
  std::optional<User> user;  ///< proxy.user; only of the first state
};

/// The input that a reload reads again.
enum class Reread : std::uint8_t {
  everything,  ///< the configuration, and the files that it names
  files,       ///< only the files that the configuration in force names
};

/// Reads the configuration and all files that it names, as a start does. Root takes on the groups
/// of proxy.user. If anything is wrong, puts every problem into `problems`, in the source's order,
/// and returns nothing.
[[nodiscard]] std::optional<State> load_state(const CommandLine& command,
                                              config::Problems& problems);

/// Does the same for a reload: the new state replaces `previous`. TLS sessions with a server are
/// resumed if the policy for it stays the same. No groups change.
[[nodiscard]] std::optional<State> reload_state(const CommandLine& command, const State& previous,
                                                Reread what, config::Problems& problems);

/// Returns a problem as one line: "FILE:LINE:COLUMN: text".
[[nodiscard]] std::string to_text(const config::Problem& problem);

/// Returns an error of Logger::open for `log.file` as a problem of the configuration.
[[nodiscard]] std::string log_file_problem(const State& state, const Error& error);

}  // namespace starttls
