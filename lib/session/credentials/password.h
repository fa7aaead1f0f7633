#pragma once

// Checks a client's password against the one of the configuration: text, or a crypt(3) hash.

#include <string_view>

#include "lib/base/secret.h"

namespace starttls::session {

/// True if the configuration's `password` is a crypt(3) hash.
[[nodiscard]] bool is_hash(const Secret& password) noexcept;

/// True if `given` has the hash `hash`. Takes as long as the hash wants, so it is not for a loop.
[[nodiscard]] bool has_hash(const Secret& given, const Secret& hash);

}  // namespace starttls::session
