#pragma once

// The strings of ManageSieve, quoted or literal, and the lines that hold them (RFC 5804 §4).

#include <optional>
#include <string>
#include <string_view>

#include "lib/base/error.h"
#include "lib/proto/lines.h"

namespace starttls::proto::sieve {

/// Does the same as `next_line` for lines that contain literals. Returns one line with all of them,
/// at most as long as any other line. Errors: the one that the rules name.
[[nodiscard]] Result<std::optional<Line>> next_whole_line(std::string_view input, LineRules rules);

/// Cuts the string at the beginning of `rest`, a part of a whole line, off it, and decodes it.
/// Returns nothing if `rest` does not begin with a string.
[[nodiscard]] std::optional<std::string> take_string(std::string_view& rest);

}  // namespace starttls::proto::sieve
