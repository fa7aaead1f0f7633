#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace starttls::test {

/// Octets of every value, without a short period; the same for the same seed.
std::string payload(std::size_t size, std::uint32_t seed = 1);

}  // namespace starttls::test
