#pragma once

#include <cstddef>

#include "proxy/admin/http.h"
#include "proxy/admin/status.h"

namespace starttls {

/// The version of the JSON's form. It changes if a key goes or changes its meaning. New keys do not
/// change it.
inline constexpr int kStatusFormat = 1;
/// The most services, and the most certificates, that the JSON lists.
inline constexpr std::size_t kMaxStatusRows = 1000;

/// Returns the status for programs.
[[nodiscard]] AdminResponse status_json(const Status& status);

}  // namespace starttls
