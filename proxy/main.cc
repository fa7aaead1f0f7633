// starttls-proxy: see README.md.

#include <cstdio>
#include <string>
#include <string_view>
#include <vector>

#include <fmt/format.h>

#include "lib/base/log.h"
#include "lib/config/config.h"
#include "lib/config/load.h"
#include "lib/net/loop.h"
#include "lib/proto/protocols.h"
#include "lib/tls/context.h"
#include "proxy/cli.h"
#include "proxy/server.h"

namespace starttls {
namespace {

constexpr int kExitUnavailable = 69;  // EX_UNAVAILABLE: an address cannot be bound

void print_error(std::string_view text) {
  fmt::print(stderr, "starttls-proxy: {}\n", text);
}

int run(const CommandLine& command) {
  std::vector<std::string_view> protocols;
  for (const auto& protocol : proto::protocols()) protocols.push_back(protocol.name);

  config::Config config;
  const auto problems = command.config_file.empty()
                            ? config::load_flags(command.flags, protocols, config)
                            : config::load_file(command.config_file, protocols, config);
  for (const auto& problem : problems) print_error(problem.where + ": " + problem.text);
  if (!problems.empty()) return kExitConfig;

  std::vector<Error> broken;
  const Services services = make_services(config, broken);
  for (const auto& error : broken) print_error(error.reason);
  if (!broken.empty()) return kExitConfig;

  if (command.action == CommandLine::Action::check) {
    fmt::print("{}", config::describe(config));
    return 0;
  }

  log::Logger log{config.log.level, config.log.format};
  if (const auto opened = log.open(config.log.file); !opened) {
    print_error(opened.error().reason);
    return kExitConfig;
  }
  const auto served = serve(config, services, log);
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
    case CommandLine::Action::check:
    case CommandLine::Action::run:
      return run(*command);
  }
  return kExitUsage;
}
