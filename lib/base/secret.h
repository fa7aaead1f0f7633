#pragma once

// A password or a token. Its memory is wiped when it goes. There is no conversion to text and no
// formatter, so that it cannot get into a log by accident.

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace starttls {

/// Overwrites memory in a way that the compiler does not leave out.
void wipe(std::span<char> memory) noexcept;
/// Overwrites the whole capacity of `text`, and empties it.
void wipe(std::string& text) noexcept;
void wipe(std::vector<std::uint8_t>& bytes) noexcept;

/// Makes room for `size` bytes in all. Overwrites the memory that the text leaves.
void make_room(std::string& text, std::size_t size);

/// Wipes a text or a buffer at the end of its scope, on every way out.
template <class Memory>
class WipeAtEnd {
 public:
  explicit WipeAtEnd(Memory& memory) noexcept : memory_(memory) {}
  WipeAtEnd(const WipeAtEnd&) = delete;
  WipeAtEnd& operator=(const WipeAtEnd&) = delete;
  ~WipeAtEnd() {
    if (!kept_) wipe(memory_);
  }

  /// Leaves the memory as it is. Call it just before the memory is returned.
  void keep() noexcept { kept_ = true; }

 private:
  Memory& memory_;
  bool kept_ = false;
};

class Secret {
 public:
  Secret() = default;
  /// Copies `text`. The caller wipes its own copy.
  explicit Secret(std::string_view text) : text_(text) {}
  Secret(const Secret&) = default;
  Secret(Secret&& other) noexcept;
  Secret& operator=(const Secret& other);
  Secret& operator=(Secret&& other) noexcept;
  ~Secret() { wipe(text_); }

  /// Returns the text itself. Call it only to send, to check or to hash the secret.
  [[nodiscard]] std::string_view reveal() const noexcept { return text_; }
  [[nodiscard]] bool empty() const noexcept { return text_.empty(); }

  /// Compares in a time that depends only on the lengths.
  friend bool operator==(const Secret& a, const Secret& b) noexcept;

 private:
  std::string text_;
};

}  // namespace starttls
