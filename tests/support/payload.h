#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace starttls::test {

/// Returns bytes of every value, without a short period. The same seed gives the same bytes.
std::string payload(std::size_t size, std::uint32_t seed = 1);

}  // namespace starttls::test
