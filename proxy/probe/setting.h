#pragma once

// Names settings in advice as the user writes them: as flags of a command line, or as keys of a
// file.

#include <string>
#include <string_view>

#include "lib/config/exposure.h"

namespace starttls {

/// Returns the name of a setting: "--ca-file" or "upstream.ca_file". `key` is the path of a key in
/// a service, and the key has a flag (lib/config/schema.h).
[[nodiscard]] std::string setting_name(config::Spelling spelling, std::string_view key);

/// Returns a setting with its value: `--ca-file ca.pem` or `upstream.ca_file = "ca.pem"`. `value`
/// needs no escape in a shell or in TOML.
[[nodiscard]] std::string setting(config::Spelling spelling, std::string_view key,
                                  std::string_view value);

/// Returns two settings that belong together: `--verify none --pin P` or `verify = "none" and
/// pins = ["P"]`, for example.
[[nodiscard]] std::string both_settings(config::Spelling spelling, const std::string& one,
                                        const std::string& other);

}  // namespace starttls
