#include "lib/base/random.h"

#include <array>
#include <cstdlib>
#include <string_view>

#include <unistd.h>

namespace starttls {

std::string random_token() {
  constexpr std::string_view kHex = "0123456789abcdef";
  std::array<unsigned char, 16> random{};
  if (::getentropy(random.data(), random.size()) != 0) std::abort();
  std::string token;
  for (const auto byte : random) {
    token += kHex[byte >> 4U];
    token += kHex[byte & 15U];
  }
  return token;
}

}  // namespace starttls
