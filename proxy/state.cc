#include "proxy/state.h"

#include <algorithm>
#include <memory>
#include <string_view>
#include <utility>

#include <sched.h>

#include "lib/base/ascii.h"
#include "lib/base/tls_mode.h"
#include "lib/config/load.h"
#include "lib/net/loop.h"
#include "lib/proto/protocols.h"
#include "lib/session/service_files.h"
#include "lib/tls/context.h"
#include "lib/tls/library.h"
#include "lib/tls/record_cipher.h"
#include "proxy/log_file.h"
#include "proxy/login_files.h"
#include "proxy/system_name.h"

namespace starttls {
namespace {

const session::Service* find_service(const State* state, const std::string& name) {
  if (state == nullptr) return nullptr;
  const auto found =
      std::find_if(state->services.begin(), state->services.end(),
                   [&name](const auto& service) { return service->config.name == name; });
  return found == state->services.end() ? nullptr : found->get();
}

unsigned usable_cpus() {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (::sched_getaffinity(0, sizeof(set), &set) != 0) return 1;
  return static_cast<unsigned>(std::max(1, CPU_COUNT(&set)));
}

std::shared_ptr<metrics::Registry> new_registry(unsigned workers, RecordCipher cipher) {
  return std::make_shared<metrics::Registry>(
      workers == 0 ? usable_cpus() : workers,
      metrics::BuildInfo{.version = STARTTLS_VERSION,
                         .libuv = std::string(ascii::after_first_word(net::library_version())),
                         .tls_library = tls::library_version(),
                         .record_cipher = tls::describe(cipher)});
}

constexpr config::ValueName kUser{std::nullopt, "proxy.user"};
constexpr config::ValueName kLogFile{std::nullopt, "log.file"};

/// Returns the problem in the words that the loader uses.
config::Problem unusable_log(const State& state, const std::string& why) {
  return state.places.problem(kLogFile,
                              state.places.shown(kLogFile, state.config.log.file) + ": " + why +
                                  (state.user ? " (as the user " + state.user->name + ")" : ""));
}

Result<> may_log(const State& state) {
  const auto check = [&state] { return check_log_file(state.config.log.file); };
  return state.user ? act_as(*state.user, check) : check();
}

/// Finds the user that the process will become, then checks that this user may write the log. The
/// order matters: the second check acts as the user.
void check_process(const CommandLine& command, const State* previous, State& state,
                   config::Problems& problems) {
  const auto& name = state.config.proxy.user;
  if (previous == nullptr && !name.empty()) {
    if (auto user = find_user(name)) {
      take_groups(*user);  // before secrets are read: a reload must find what the start finds
      state.user = std::move(*user);
    } else {
      const auto shown = state.places.shown(kUser, "'" + ascii::escape(name) + "'");
      problems.push_back(state.places.problem(kUser, shown + ": " + user.error().reason));
    }
  }
  // A probe has no log. A log that is open already stays open.
  const auto& log = state.config.log.file;
  const bool opens = command.action != CommandLine::Action::probe && !log.empty() &&
                     (previous == nullptr || previous->config.log.file != log);
  if (!opens) return;
  if (const auto may = may_log(state); !may) {
    problems.push_back(unusable_log(state, may.error().reason));
  }
}

/// Checks the files of secrets as the user that will read them. That user reads them at each login,
/// long after the process has given up the rights of root.
void check_secrets(const State& state, config::Problems& problems) {
  const auto& services = state.config.services;
  if (std::all_of(services.begin(), services.end(),
                  [](const auto& service) { return !has_login_files(service); })) {
    return;
  }
  const auto check = [&]() -> Result<> {
    check_login_files(state.config, state.places, problems);
    return {};
  };
  const auto checked = state.user ? act_as(*state.user, check) : check();
  if (!checked) problems.push_back(state.places.problem(kUser, checked.error().reason));
}

void check_service_files(const State& state, std::size_t i, bool loaded,
                         config::Problems& problems) {
  const auto& service = state.config.services[i];
  for (const auto& [key, row, file, reason] : session::check_files(service)) {
    // If the loader has refused the CA file, the empty name does not mean the system's.
    if (!loaded && key == "service.upstream.ca_file" && service.upstream.ca_file.empty()) continue;
    const config::ValueName name{i, key, row};
    auto text = reason;
    if (text.starts_with(file)) text.replace(0, file.size(), state.places.shown(name, file));
    problems.push_back(state.places.problem(name, text));
  }
}

/// Makes the services of a correct configuration. Adds a problem for each service that cannot be
/// made.
void make_services(const State* previous, State& state, config::Problems& problems) {
  const auto cipher = tls::choose_record_cipher(state.config.proxy.record_cipher);
  state.metrics =
      previous != nullptr ? previous->metrics : new_registry(state.config.proxy.workers, cipher);
  const std::string& configured = state.config.proxy.hostname;
  state.system_name = previous != nullptr
                          ? previous->system_name
                          : std::make_shared<session::OwnName>(immediate_system_name());
  const session::Common common{.own_name = configured.empty()
                                               ? state.system_name
                                               : std::make_shared<session::OwnName>(configured),
                               .record_codec = state.config.proxy.record_codec,
                               .record_cipher = cipher,
                               .metrics = state.metrics.get()};
  for (std::size_t i = 0; i < state.config.services.size(); ++i) {
    const auto& service = state.config.services[i];
    auto made = session::make_service(service, common, find_service(previous, service.name));
    if (made) {
      state.services.push_back(std::move(*made));
      continue;
    }
    const auto right = problems.size();
    check_service_files(state, i, true, problems);
    if (problems.size() > right) continue;
    // No file is the cause, or the file has been repaired meanwhile.
    problems.push_back(state.places.problem({i, "service.protocol"}, made.error().reason));
  }
}

config::Problems read_config(const CommandLine& command, State& state) {
  std::vector<std::string_view> protocols;
  for (const auto& protocol : proto::protocols()) protocols.push_back(protocol.name);
  return command.config_file.empty()
             ? config::load_flags(command.flags, protocols, state.config, &state.places)
             : config::load_file(command.config_file, protocols, state.config, &state.places);
}

/// Completes a state after its configuration has been read. `found` has what was wrong with that.
std::optional<State> complete(const CommandLine& command, const State* previous, State state,
                              config::Problems found, config::Problems& problems) {
  const bool loaded = found.empty();
  check_process(command, previous, state, found);
  check_secrets(state, found);
  if (loaded) {
    make_services(previous, state, found);
  } else {
    for (std::size_t i = 0; i < state.config.services.size(); ++i) {
      check_service_files(state, i, false, found);
    }
  }
  if (found.empty()) return state;
  config::sort(found);
  problems = std::move(found);
  return std::nullopt;
}

}  // namespace

std::optional<State> load_state(const CommandLine& command, config::Problems& problems) {
  State state;
  auto found = read_config(command, state);
  return complete(command, nullptr, std::move(state), std::move(found), problems);
}

std::optional<State> reload_state(const CommandLine& command, const State& previous, Reread what,
                                  config::Problems& problems) {
  State state;
  config::Problems found;
  if (what == Reread::everything) {
    found = read_config(command, state);
  } else {
    state.config = previous.config;
    state.places = previous.places;
  }
  return complete(command, &previous, std::move(state), std::move(found), problems);
}

std::string to_text(const config::Problem& problem) {
  return problem.where + ": " + problem.text;
}

std::string log_file_problem(const State& state, const Error& error) {
  if (error.evidence.empty()) return error.reason;
  return to_text(unusable_log(state, error.evidence));
}

}  // namespace starttls
