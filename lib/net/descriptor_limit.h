#pragma once

#include <cstddef>

namespace starttls::net {

/// Raises the soft limit of open descriptors to the hard one, and returns the limit in force. If
/// the limit cannot be read, returns a number that every system allows.
std::size_t raise_descriptor_limit() noexcept;

}  // namespace starttls::net
