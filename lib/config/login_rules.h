#pragma once

// The rules of [service.login] and [[service.account]] that several keys share. Which clients may
// use the proxy's secret is decided in exposure.h.

#include "lib/config/build.h"

namespace starttls::config {

/// True if there is a finding about a key of the login already. The consequences of that are not
/// worth findings of their own.
[[nodiscard]] bool has_bad_login(const Section& section) noexcept;

/// Checks the login of a service. `section` has what was written.
void check_login(const Service& service, const Section& section, Findings& findings);

}  // namespace starttls::config
