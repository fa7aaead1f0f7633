#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "lib/base/error.h"
#include "lib/config/config.h"

namespace starttls::config {

class Places;

/// One thing that is wrong, ready to print: "FILE:LINE:COLUMN: text" (or "--flag: text").
struct Problem {
  std::string where;
  std::string text;
  std::uint64_t rank = 0;  ///< its place in the order of the source
};

/// All that is wrong, in the order of the file; empty = the configuration is usable.
using Problems = std::vector<Problem>;

/// Into the order of the source.
void sort(Problems& problems);

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
