#pragma once

// Works out how many sessions may be open, so that no session takes a descriptor that another one
// needs. It counts everything that may be open at once. No system call is made here.

#include <cstddef>

#include "lib/config/config.h"

namespace starttls {

/// The descriptors that a configuration may need at once.
struct DescriptorNeeds {
  std::size_t reserved = 0;     ///< for everything that is neither a session nor a warm connection
  std::size_t warm = 0;         ///< for connections that belong to no session yet
  std::size_t per_session = 0;  ///< for a session of the service that needs the most
};
[[nodiscard]] DescriptorNeeds descriptor_needs(const config::Config& config, std::size_t workers);

/// Returns the limit of sessions, at least 1. The process may have `descriptors`. `wanted` is the
/// configured limit; 0: as many as possible.
[[nodiscard]] std::size_t session_limit(const DescriptorNeeds& needs, std::size_t descriptors,
                                        std::size_t wanted) noexcept;

}  // namespace starttls
