#pragma once

// The command line: what is asked for, before any of it is acted on.

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "lib/base/error.h"
#include "lib/config/load.h"

namespace starttls {

/// Exit statuses, as in sysexits.h.
inline constexpr int kExitUsage = 64;
inline constexpr int kExitConfig = 78;

struct CommandLine {
  enum class Action : std::uint8_t { run, check, probe, convert, help, version };

  Action action = Action::run;
  std::string config_file;          ///< "" = one service, made from `flags`; convert: stunnel's
  std::vector<config::Flag> flags;  ///< not yet checked: config::load_flags does that
  bool json = false;                ///< probe: for programs
};

/// Reads the arguments behind the program's name. Errors: config, with a usage error's text for the
/// person who typed them; the exit status is kExitUsage then. No arguments at all are such an
/// error.
[[nodiscard]] Result<CommandLine> parse_command_line(std::span<const std::string> arguments);

/// What --help prints.
[[nodiscard]] std::string help_text();

}  // namespace starttls
