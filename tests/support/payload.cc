#include "tests/support/payload.h"

namespace starttls::test {

std::string payload(std::size_t size, std::uint32_t seed) {
  std::string out(size, '\0');
  for (char& c : out) {
    seed = seed * 1664525U + 1013904223U;
    c = static_cast<char>(seed >> 24U);
  }
  return out;
}

}  // namespace starttls::test
