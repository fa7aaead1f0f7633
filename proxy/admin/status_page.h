#pragma once

#include <chrono>
#include <cstddef>
#include <string>

#include "proxy/admin/http.h"
#include "proxy/admin/status.h"

namespace starttls {

/// The most rows of one table of the page. The JSON has more.
inline constexpr std::size_t kMaxPageRows = 100;
/// The time after which a browser loads the page again.
inline constexpr std::chrono::seconds kPageRefresh{30};

/// Returns the status for people: one page of HTML without scripts. `nonce` is a new random token.
/// By it, the browser knows our style, and applies no other.
[[nodiscard]] AdminResponse status_page(const Status& status, std::string nonce);

}  // namespace starttls
