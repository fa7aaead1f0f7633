#pragma once

// Loads a configuration. The stages, each in a file of its own:
//
//   load.cc, flags.cc   text of a file, or a command line -> Value (value.h)
//   build.cc            assign: which key of the schema each value belongs to (schema.h)
//   expand.cc           "${NAME}" and "${file:PATH}" -> text
//   read.cc             Value -> a field of Config, checked by itself
//   validate.cc         rules that several keys share
//
// Every stage reports all problems that it finds (problem.h), with their places. `Places` keeps
// where each value was written, for problems that show up only later (a key that does not belong to
// its certificate).

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "lib/config/config.h"
#include "lib/config/problem.h"

namespace starttls::config {

class Places;

/// Reads and checks a file. `protocols` are the names that `protocol` may have. Every problem is
/// reported, not just the first; on any, `config` must not be used but to look for more of them.
/// Opens files (the configuration, CA file), changes nothing. `places`, if any, is where what was
/// written in it.
[[nodiscard]] Problems load_file(const std::string& path,
                                 std::span<const std::string_view> protocols, Config& config,
                                 Places* places = nullptr);

/// The same from text; `path` names it in problems and anchors relative paths.
[[nodiscard]] Problems load_text(std::string_view toml, const std::string& path,
                                 std::span<const std::string_view> protocols, Config& config,
                                 Places* places = nullptr);

/// One option of the command line: "--upstream-tls" and what followed it, once per occurrence.
struct Flag {
  std::string name;
  std::vector<std::string> values;
};

/// One service without a file: the keys' flags (schema.h), checked as a file is. The service bears
/// the name of its protocol; relative paths are relative to the working folder.
[[nodiscard]] Problems load_flags(std::span<const Flag> flags,
                                  std::span<const std::string_view> protocols, Config& config,
                                  Places* places = nullptr);

}  // namespace starttls::config
