#pragma once

// Reads the command line. This file does not act on it.

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "lib/base/error.h"
#include "lib/config/load.h"
#include "proxy/probe/login_options.h"

namespace starttls {

struct CommandLine {
  enum class Action : std::uint8_t { run, check, probe, convert, help, version };

  Action action = Action::run;
  std::string config_file;              ///< "" = one service, made from `flags`
  std::vector<config::Flag> flags;      ///< not yet checked: config::load_flags does that
  bool json = false;                    ///< check, probe: for programs
  std::string service = {};             ///< probe with a file: the name; "" = the only one
  LoginOptions login = {};              ///< probe
  std::vector<std::string> files = {};  ///< convert: stunnel's
  bool strict = false;                  ///< convert: a service that is left out is a failure
};

/// Reads the arguments after the program's name. Errors: config, with the text of a usage error for
/// the person that typed them. The exit status is kExitUsage then. A command line without arguments
/// is such an error.
[[nodiscard]] Result<CommandLine> parse_command_line(std::span<const std::string> arguments);

/// Returns the text that --help prints.
[[nodiscard]] std::string help_text();

}  // namespace starttls
