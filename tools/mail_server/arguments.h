#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace starttls::bench {

/// Splits a command of IMAP or ManageSieve at its spaces. A quoted string loses its quotes and
/// escapes. A list in parentheses stays one argument as it was written, parentheses included.
/// Returns nothing if a quote or a parenthesis is not closed.
[[nodiscard]] std::optional<std::vector<std::string>> parse_arguments(std::string_view text);

/// Appends a quoted string that `parse_arguments` can read back.
void append_quoted(std::string_view text, std::string& out);

}  // namespace starttls::bench
