#pragma once

#include <cstddef>

namespace starttls::net {

/// Raises the soft limit of open descriptors to the hard one, and returns the limit that counts
/// from then on. If it cannot be read, a number that every system allows.
std::size_t raise_descriptor_limit() noexcept;

}  // namespace starttls::net
