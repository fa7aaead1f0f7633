#pragma once

// Loads a configuration. The stages, each in a file of its own:
//
//   load.cc, flags.cc   text of a file, or a command line -> Value (value.h)
//   build.cc            assign: which key of the schema each value belongs to (schema.h)
//   expand.cc           "${NAME}" and "${file:PATH}" -> text
//   read.cc             Value -> a field of Config, checked by itself
//   validate.cc         rules that several keys share
//
// Every stage reports all problems that it finds (problem.h), with their places. Some problems show
// up only later, such as a key that does not belong to its certificate. For these `Places` keeps
// the place of each value.

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "lib/config/config.h"
#include "lib/config/problem.h"

namespace starttls::config {

class Places;

/// Reads and checks a file. `protocols` are the names that `protocol` may have. Reports every
/// problem, not just the first. If there is a problem, `config` may be used only to look for more.
/// Opens files (the configuration, CA file), changes nothing. `places`, if any, receives the places
/// of all values.
[[nodiscard]] Problems load_file(const std::string& path,
                                 std::span<const std::string_view> protocols, Config& config,
                                 Places* places = nullptr);

/// Reads and checks a text in the same way. `path` names it in problems and anchors relative paths.
[[nodiscard]] Problems load_text(std::string_view toml, const std::string& path,
                                 std::span<const std::string_view> protocols, Config& config,
                                 Places* places = nullptr);

/// One option of the command line: "--upstream-tls" and its values, one per occurrence.
struct Flag {
  std::string name;
  std::vector<std::string> values;
};

/// Reads one service from a command line, without a file. The keys' flags (schema.h) are checked in
/// the same way as a file. The service has the name of its protocol. Relative paths are relative to
/// the working folder.
[[nodiscard]] Problems load_flags(std::span<const Flag> flags,
                                  std::span<const std::string_view> protocols, Config& config,
                                  Places* places = nullptr);

}  // namespace starttls::config
