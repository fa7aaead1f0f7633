#pragma once

#include <cstddef>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "lib/base/error.h"

namespace starttls::config {

/// Returns `text` with each "${NAME}" replaced by the environment's value. Each "${file:PATH}" is
/// replaced by the file's content without its last newline. PATH may hold "${NAME}". If it is
/// relative, it starts at `folder`. Replaced text is not expanded again. A '$' without '{' stays as
/// it is. The files' names are appended to `files`. Errors: config. They name variables and files
/// as written, never their content.
[[nodiscard]] Result<std::string> expand(std::string_view text, const std::filesystem::path& folder,
                                         std::vector<std::string>& files);

inline constexpr std::size_t kMaxFile = std::size_t{1} << 20U;  // no configuration is larger

/// Reads a whole regular file; see read_to_end. Errors: config, in words that follow its name.
[[nodiscard]] Result<std::string> read_file(const std::filesystem::path& path);

}  // namespace starttls::config
