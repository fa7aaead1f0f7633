#pragma once

#include <string>

namespace starttls {

/// 128 random bits from the system, as 32 hexadecimal digits: for what a peer must not guess. Ends
/// the process where the system has none; then nothing it is used for would be safe.
[[nodiscard]] std::string random_token();

}  // namespace starttls
