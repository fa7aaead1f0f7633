#pragma once

#include <string>

namespace starttls {

/// Returns 128 random bits from the system, as 32 hexadecimal digits, for values that a peer must
/// not guess. Ends the process if the system has none, because no use of the token would be safe.
[[nodiscard]] std::string random_token();

}  // namespace starttls
