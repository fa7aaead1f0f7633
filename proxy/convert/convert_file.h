#pragma once

// `starttls-proxy convert`: converts a file and prints the result.

#include <string>

namespace starttls {

/// Prints the result for a file, and on standard error the notes and a line that counts them.
/// Returns the exit status: 0, or kExitConfig if the file cannot be read or has no service that
/// could be converted. It is kExitOutput if the result cannot be printed.
[[nodiscard]] int convert_file(const std::string& path);

}  // namespace starttls
