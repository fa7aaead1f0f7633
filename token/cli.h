#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "token/failure.h"
#include "token/settings.h"

namespace starttls::token {

/// The command line of starttls-token.
struct CommandLine {
  enum class Action : std::uint8_t { help, version, authorize, access, list, forget };
  Action action = Action::help;
  std::string account;  ///< "" with list, and with from_stdin
  std::string config;   ///< "": the default file, if it exists
  std::string store;    ///< "": as in the file
  Choice choice;
  bool paste = false;
  bool from_stdin = false;
};

/// Errors: usage.
[[nodiscard]] Outcome<CommandLine> parse_command_line(std::vector<std::string> arguments);

[[nodiscard]] std::string help_text();

}  // namespace starttls::token
