// starttls-proxy: see README.md.

#include <cstdio>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "lib/base/log.h"
#include "lib/config/config.h"
#include "lib/net/loop.h"
#include "lib/tls/context.h"
#include "proxy/cli.h"
#include "proxy/convert.h"
#include "proxy/probe.h"
#include "proxy/server.h"
#include "proxy/state.h"

namespace starttls {
namespace {

constexpr int kExitUnavailable = 69;  // EX_UNAVAILABLE: an address cannot be bound

void print_error(std::string_view text) {
  fmt::print(stderr, "starttls-proxy: {}\n", text);
}

int run(const CommandLine& command) {
  const auto loaded_at = FileWatch::Clock::now();
  std::vector<std::string> problems;
  auto state = load_state(command, nullptr, problems);
  for (const auto& problem : problems) print_error(problem);
  if (!state) return kExitConfig;

  const config::Config& config = state->config;
  if (command.action == CommandLine::Action::check) {
    fmt::print("{}", config::describe(config));
    return 0;
  }

  if (command.action == CommandLine::Action::probe) {
    const ProbeReport report = probe(*state->services.front());
    // fmt::print throws where a reader has had enough (| head), and the probe ignores SIGPIPE.
    std::fputs((command.json ? to_json(report) : to_text(report)).c_str(), stdout);
    return exit_status(report);
  }

  log::Logger log{config.log.level, config.log.format};
  if (const auto opened = log.open(config.log.file); !opened) {
    print_error(opened.error().reason);
    return kExitConfig;
  }
  const auto reload = [&command](const State& previous, std::vector<std::string>& wrong) {
    return load_state(command, &previous, wrong);
  };
  const auto served = serve(std::move(*state), loaded_at, reload, log);
  if (!served) {
    print_error(served.error().reason);
    return kExitUnavailable;
  }
  return *served;
}

}  // namespace
}  // namespace starttls

int main(int argc, char** argv) {
  using namespace starttls;
  const std::vector<std::string> arguments(argv + 1, argv + argc);
  const auto command = parse_command_line(arguments);
  if (!command) {
    print_error(command.error().reason);
    return kExitUsage;
  }
  switch (command->action) {
    case CommandLine::Action::help:
      fmt::print("{}", help_text());
      return 0;
    case CommandLine::Action::version:
      fmt::print("starttls-proxy {}\n{}\n{}\n", STARTTLS_VERSION, net::library_version(),
                 tls::library_version());
      return 0;
    case CommandLine::Action::convert:
      return convert_file(command->config_file);
    case CommandLine::Action::check:
    case CommandLine::Action::probe:
    case CommandLine::Action::run:
      return run(*command);
  }
  return kExitUsage;
}
