#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace starttls::bench {

/// Takes a command of IMAP or ManageSieve apart at its spaces. A quoted string becomes what it
/// stands for; a list in parentheses stays one argument as it was written, parentheses included.
/// Nothing where a quote or a parenthesis is not closed.
[[nodiscard]] std::optional<std::vector<std::string>> parse_arguments(std::string_view text);

/// As a quoted string, to be read back by `parse_arguments`.
void append_quoted(std::string_view text, std::string& out);

}  // namespace starttls::bench
