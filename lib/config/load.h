#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "lib/base/error.h"
#include "lib/config/config.h"

namespace starttls::config {

/// One thing that is wrong, ready to print: "FILE:LINE:COLUMN: text" (or "--flag: text").
struct Problem {
  std::string where;
  std::string text;
};

/// All that is wrong, in the order of the file; empty = the configuration is usable.
using Problems = std::vector<Problem>;

/// Reads and checks a file. `protocols` are the names that `protocol` may have. Every problem is
/// reported, not just the first; on any, `config` must not be used. Opens files (the configuration,
/// CA file), changes nothing.
[[nodiscard]] Problems load_file(const std::string& path,
                                 std::span<const std::string_view> protocols, Config& config);

/// The same from text; `path` names it in problems and anchors relative paths.
[[nodiscard]] Problems load_text(std::string_view toml, const std::string& path,
                                 std::span<const std::string_view> protocols, Config& config);

/// One option of the command line: "--upstream-tls" and what followed it, once per occurrence.
struct Flag {
  std::string name;
  std::vector<std::string> values;
};

/// One service without a file: the keys' flags (schema.h), checked as a file is. The service bears
/// the name of its protocol; relative paths are relative to the working folder.
[[nodiscard]] Problems load_flags(std::span<const Flag> flags,
                                  std::span<const std::string_view> protocols, Config& config);

}  // namespace starttls::config
