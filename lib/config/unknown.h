#pragma once

// The messages about names that the schema does not have.

#include <span>
#include <string>
#include <string_view>

namespace starttls::config {

/// Returns the text for a key that does not exist, with a similar one that does, if there is one.
[[nodiscard]] std::string unknown_key(std::string_view path);
/// Returns the same for a flag. `others` are flags that exist besides those of the keys.
[[nodiscard]] std::string unknown_flag(std::string_view flag,
                                       std::span<const std::string_view> others = {});

}  // namespace starttls::config
