#pragma once

#include <string_view>

namespace starttls::config {

/// True for a whole hash of a password that crypt(3) of Debian checks: "$y$j9T$SALT$HASH". It says
/// nothing about the salt and the cost inside.
[[nodiscard]] bool is_password_hash(std::string_view text) noexcept;

}  // namespace starttls::config
