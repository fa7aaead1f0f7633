// starttls-proxy: see README.md.

#include <chrono>
#include <cstdio>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <unistd.h>

#include "lib/base/log.h"
#include "lib/base/standard_descriptors.h"
#include "lib/config/config.h"
#include "lib/config/describe.h"
#include "lib/config/mistakes.h"
#include "lib/net/descriptor_limit.h"
#include "lib/net/loop.h"
#include "lib/net/signals.h"
#include "lib/tls/context.h"
#include "lib/tls/library.h"
#include "lib/tls/record_cipher.h"
#include "proxy/certificates.h"
#include "proxy/check_report.h"
#include "proxy/cli.h"
#include "proxy/confinement/confine.h"
#include "proxy/confinement/sandbox.h"
#include "proxy/confinement/user.h"
#include "proxy/convert/convert_file.h"
#include "proxy/exit_status.h"
#include "proxy/last_words.h"
#include "proxy/launcher/start.h"
#include "proxy/login_files.h"
#include "proxy/output.h"
#include "proxy/probe/asked_secret.h"
#include "proxy/probe/login_choice.h"
#include "proxy/probe/login_secret.h"
#include "proxy/probe/probe.h"
#include "proxy/server.h"
#include "proxy/state.h"
#include "proxy/supervisor/inherited_sockets.h"

namespace starttls {
namespace {

void print_error(std::string_view text) {
  log::print_error("starttls-proxy", text);
}

config::StartedBy started_by() noexcept {
  return ::geteuid() == 0 ? config::StartedBy::root : config::StartedBy::user;
}

/// Reads the configuration and all files that it names. Prints the settings in force, what is wrong
/// with them, and a count. Returns the exit status.
int check(const CommandLine& command) {
  const UnixTime now = UnixTime::of(std::chrono::system_clock::now());
  CheckReport report{.config_file = command.config_file};
  const auto state = load_state(command, report.errors);
  if (state) {
    report.config = &state->config;
    report.certificates = certificates_of(state->services);
    report.errors = certificate_problems(*state, now);
    report.warnings = check_warnings(state->config, started_by(), report.certificates, now);
  }
  const int status = report.errors.empty() ? 0 : kExitConfig;
  if (command.json) return print_output(to_json(report, now), status);

  std::string text;
  if (state) {
    const auto about = [&](const std::string& chain) {
      return describe_chain(chain, report.certificates, now);
    };
    text = config::describe(state->config, started_by(),
                            {.describe_chain = about,
                             .find_warnings = login_file_warnings,
                             .post_quantum = tls::post_quantum_support()});
  }
  if (report.errors.empty()) {
    text += "\n" + summary(report) + "\n";
  } else {
    for (const auto& problem : report.errors) print_error(to_text(problem));
    print_error(summary(report));
  }
  return print_output(text, status);
}

/// Makes all loops of the process. Errors: system.
Result<Loops> make_loops(std::size_t count, const config::Config& config) {
  if (config.proxy.sandbox) {
    if (auto forbidden = forbid_io_uring(); !forbidden) return fail(std::move(forbidden.error()));
  }
  const std::size_t limit = net::raise_descriptor_limit();
  Loops loops;
  while (loops.size() < count) {
    auto loop = net::Loop::create();
    if (!loop) {
      return fail(loop.error().code,
                  fmt::format("{} (number {} of {}; the limit is {} open descriptors)",
                              loop.error().reason, loops.size() + 1, count, limit));
    }
    loops.push_back(std::move(*loop));
  }
  return loops;
}

/// Gets the secret of a login as the user that reads it at each login.
Result<Secret> secret_of(const LoginChoice& choice, const LoginOptions& options,
                         const std::optional<User>& user, const AskSource& ask) {
  if (!user || !choice.source.is_set()) return read_login_secret(choice, options, ask);
  Result<Secret> secret = Secret();
  const auto acted = act_as(*user, [&]() -> Result<> {
    secret = read_login_secret(choice, options, ask);
    return {};
  });
  if (!acted) return fail(acted.error());
  return secret;
}

/// Probes a server, perhaps with a login, and prints the report. Returns the exit status.
int probe_server(const CommandLine& command, const State& state,
                 std::optional<launcher::Process> launcher) {
  ProbeOptions options{
      .record_cipher = tls::describe(tls::choose_record_cipher(state.config.proxy.record_cipher)),
      .spelling = command.config_file.empty() ? config::Spelling::flags : config::Spelling::keys};
  const auto index = find_service(state.config.services, command.service);
  if (!index) {
    print_error(index.error().reason);
    return kExitConfig;
  }
  session::Service service = *state.services[*index];
  auto& upstream = service.config.upstream;
  if (upstream.original_destination) {
    print_error("the service has no server of its own: probe one with --upstream");
    return kExitConfig;
  }
  upstream.address.resize(1);
  const auto loops = make_loops(1, state.config);
  if (!loops) {
    print_error(loops.error().reason);
    return kExitSystem;
  }
  if (command.login.wanted) {
    auto choice = choose_login(service.config, command.login);
    if (!choice) {
      print_error(choice.error().reason);
      return kExitConfig;
    }
    const auto ask = [&](const LoginChoice& asked) {
      return ask_source(*loops->front(), service.config.name, asked, std::move(launcher));
    };
    auto secret = secret_of(*choice, command.login, state.user, ask);
    options.login.emplace(LoginAttempt{std::move(*choice), std::move(secret)});
  }
  const auto lacking = confine_probe(state.config);
  if (!lacking) {
    print_error(lacking.error().reason);
    return kExitSystem;
  }
  if (!lacking->empty()) {
    print_error(fmt::format("{}: {}", kSandboxIncomplete, fmt::join(*lacking, ", ")));
  }
  for (const auto& mistake : config::likely_mistakes(service.config, options.spelling)) {
    print_error(mistake);
  }
  const auto report = probe(*loops->front(), std::make_shared<session::Service>(std::move(service)),
                            std::move(options));
  return print_output(command.json ? to_json(report) : to_text(report), exit_status(report));
}

int run(const CommandLine& command) {
  const auto inherited = InheritedSockets::take();
  if (!inherited) {
    print_error(inherited.error().reason);
    return kExitConfig;
  }
  if (command.action == CommandLine::Action::check) return check(command);
  auto notifier = command.action == CommandLine::Action::run ? Notifier::take() : Notifier{};
  const auto checked = [&](std::optional<State> loaded, const config::Problems& found,
                           std::vector<std::string>& wrong) -> std::optional<State> {
    for (const auto& problem : found) wrong.push_back(to_text(problem));
    // Only a start has inherited sockets. A probe does not listen.
    if (!loaded || command.action != CommandLine::Action::run) return loaded;
    const auto right = wrong.size();
    inherited->check(loaded->config, wrong);
    if (wrong.size() > right) return std::nullopt;
    return loaded;
  };
  const auto loaded_at = FileWatch::Clock::now();
  config::Problems found;
  std::vector<std::string> problems;
  auto state = checked(load_state(command, found), found, problems);
  for (const auto& problem : problems) print_error(problem);
  if (!state) return kExitConfig;

  const std::optional<User> user = state->user;
  // Before anything else is opened or started: a program must have nothing of it.
  std::optional<launcher::Process> launcher;
  if (command.action == CommandLine::Action::run || command.login.wanted) {
    auto started = launcher::start_if_needed(command.config_file, state->config, user,
                                             [&state] { state.reset(); });
    if (!started) {
      print_error(started.error().reason);
      return kExitSystem;
    }
    launcher = std::move(*started);
  }
  const config::Config config = state->config;

  if (command.action == CommandLine::Action::probe) {
    return probe_server(command, *state, std::move(launcher));
  }

  if (user) {
    if (const auto may = may_become(*user); !may) {
      print_error(may.error().reason);
      return kExitSystem;
    }
  }

  log::Logger log{config.log.level, config.log.format};
  const LastWordsInLog last_words(log);
  // Opened as the user that opens it again at USR1. Root must not follow a symlink that this user
  // has made there.
  Result<> opened;
  const auto open_log = [&] {
    opened = log.open(config.log.file);
    return Result<>{};
  };
  if (const auto acted = user ? act_as(*user, open_log) : open_log(); !acted) {
    print_error(acted.error().reason);
    return kExitSystem;
  }
  if (!opened) {
    print_error(log_file_problem(*state, opened.error()));
    return kExitConfig;
  }
  if (!notifier) {
    log.warn("the supervisor gets no messages from this process",
             {{"reason", notifier.error().reason}});
    notifier = Notifier{};
  }
  for (const auto& warning : config::warnings(config.proxy, started_by())) {
    log.warn("policy", {{"warning", warning}});
  }
  const ReloadState reload = [&](const State& previous, Reread what,
                                 std::vector<std::string>& wrong) {
    config::Problems found_now;
    return checked(reload_state(command, previous, what, found_now), found_now, wrong);
  };
  const auto loops = make_loops(state->metrics->workers() + 1, config);
  if (!loops) {
    print_error(loops.error().reason);
    return kExitSystem;
  }
  int status = kExitUnavailable;
  const Confine confining = [&] {
    auto confined = confine(command.config_file, config, user, log);
    if (!confined) status = kExitSystem;
    return confined;
  };
  const auto served = serve({.state = std::move(*state),
                             .loaded_at = loaded_at,
                             .loops = *loops,
                             .reload = reload,
                             .confine = confining,
                             .inherited = *inherited,
                             .notifier = *notifier,
                             .launcher = std::move(launcher),
                             .log = log});
  if (!served) {
    print_error(served.error().reason);
    return status;
  }
  return *served;
}

}  // namespace
}  // namespace starttls

int main(int argc, char** argv) {
  using namespace starttls;
  if (!open_standard_descriptors()) return kExitSystem;
  net::ignore_signals_of_writes();
  end_with_last_words();
  const std::vector<std::string> arguments(argv + 1, argv + argc);
  const auto command = parse_command_line(arguments);
  if (!command) {
    print_error(command.error().reason);
    return kExitUsage;
  }
  switch (command->action) {
    case CommandLine::Action::help:
      return print_output(help_text(), 0);
    case CommandLine::Action::version:
      return print_output(
          fmt::format("starttls-proxy {}\n{}\n{}\nrecord cipher: {}\n", STARTTLS_VERSION,
                      net::library_version(), tls::library_version(),
                      tls::describe(tls::choose_record_cipher({}))),
          0);
    case CommandLine::Action::convert:
      return convert_files(command->files, command->strict);
    case CommandLine::Action::check:
    case CommandLine::Action::probe:
    case CommandLine::Action::run:
      return run(*command);
  }
  return kExitUsage;
}
