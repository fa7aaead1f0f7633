#include "lib/base/random.h"

#include <array>
#include <cstddef>
#include <cstdlib>
#include <string_view>
#include <utility>

#include <unistd.h>

namespace starttls {

namespace {

/// Random bytes for several tokens: each session takes one, and the system call costs more than the
/// bytes. Every byte is given out once.
class Supply {
 public:
  unsigned char take() {
    if (left_ == 0) {
      if (::getentropy(bytes_.data(), bytes_.size()) != 0) std::abort();
      left_ = bytes_.size();
    }
    return std::exchange(bytes_[--left_], 0);
  }

 private:
  std::array<unsigned char, 256> bytes_{};  // as many as getentropy gives at once
  std::size_t left_ = 0;
};

}  // namespace

std::string random_token() {
  constexpr std::string_view kHex = "0123456789abcdef";
  constexpr int kBytes = 16;
  thread_local Supply supply;
  std::string token;
  token.reserve(2 * kBytes);
  for (int i = 0; i < kBytes; ++i) {
    const unsigned byte = supply.take();
    token += kHex[byte >> 4U];
    token += kHex[byte & 15U];
  }
  return token;
}

}  // namespace starttls
