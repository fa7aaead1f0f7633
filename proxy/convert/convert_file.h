#pragma once

// `starttls-proxy convert`: converts files and prints the result.

#include <span>
#include <string>

namespace starttls {

/// Prints one configuration for all files, and on standard error the notes and a line that counts
/// them. Returns the exit status: 0, or kExitConfig if a file cannot be read, if no service could
/// be converted or, if `strict`, if one is left out. It is kExitOutput if the result cannot be
/// printed.
[[nodiscard]] int convert_files(std::span<const std::string> paths, bool strict);

}  // namespace starttls
