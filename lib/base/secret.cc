#include "lib/base/secret.h"

#include <cstddef>
#include <cstring>

namespace starttls {

void wipe(std::span<char> memory) noexcept {
  if (memory.empty()) return;  // its pointer may be null
  ::explicit_bzero(memory.data(), memory.size());
}

void wipe(std::string& text) noexcept {
  text.resize(text.capacity());  // does not allocate, and reaches bytes of earlier contents
  wipe(std::span<char>{text});
  text.clear();
}

void wipe(std::vector<std::uint8_t>& bytes) noexcept {
  bytes.resize(bytes.capacity());
  wipe(std::span{reinterpret_cast<char*>(bytes.data()), bytes.size()});
  bytes.clear();
}

void make_room(std::string& text, std::size_t size) {
  if (size <= text.capacity()) return;
  std::string larger;
  larger.reserve(size);
  larger = std::string_view{text};
  text.swap(larger);
  wipe(larger);
}

Secret::Secret(Secret&& other) noexcept {
  text_.swap(other.text_);
  wipe(other.text_);  // a swap may leave a copy of a short text there
}

Secret& Secret::operator=(const Secret& other) {
  if (this != &other) {
    wipe(text_);
    text_ = other.text_;
  }
  return *this;
}

Secret& Secret::operator=(Secret&& other) noexcept {
  if (this != &other) {
    wipe(text_);
    text_.swap(other.text_);
    wipe(other.text_);
  }
  return *this;
}

bool operator==(const Secret& a, const Secret& b) noexcept {
  if (a.text_.size() != b.text_.size()) return false;
  unsigned different = 0;
  for (std::size_t i = 0; i < a.text_.size(); ++i) {
    different |= static_cast<unsigned char>(a.text_[i]) ^ static_cast<unsigned char>(b.text_[i]);
  }
  return different == 0;
}

}  // namespace starttls
