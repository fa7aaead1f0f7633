#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "lib/base/error.h"

namespace starttls::config {

/// `text` with each "${NAME}" replaced by the environment's value and each "${file:PATH}" by the
/// file's content without its last newline; a relative PATH starts at `folder`, and may hold
/// "${NAME}". What comes in is not expanded again, and a '$' without '{' is itself. The files'
/// names are appended to `files`. Errors: config, naming variables and files as written, never what
/// they hold.
[[nodiscard]] Result<std::string> expand(std::string_view text, const std::filesystem::path& folder,
                                         std::vector<std::string>& files);

/// A whole file. Errors: config, with the system's words; larger than 1 MiB (no configuration is).
[[nodiscard]] Result<std::string> read_file(const std::filesystem::path& path);

}  // namespace starttls::config
