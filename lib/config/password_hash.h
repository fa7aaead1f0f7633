#pragma once

#include <string_view>

namespace starttls::config {

/// True for a text in the form of a hash, "$ID$...": it is a hash or, if `is_password_hash` is
/// false, an error. A password in plain text may begin with '$', and has no other '$' then.
[[nodiscard]] bool has_form_of_hash(std::string_view text) noexcept;
/// True for a whole hash of a password that crypt(3) of Debian checks: "$y$j9T$SALT$HASH". It says
/// nothing about the salt and the cost inside.
[[nodiscard]] bool is_password_hash(std::string_view text) noexcept;

}  // namespace starttls::config
