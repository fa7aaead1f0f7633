#pragma once

// A password or a token. Its memory is wiped when it goes. There is no conversion to text and no
// formatter, so that it cannot get into a log by accident.

#include <span>
#include <string>
#include <string_view>

namespace starttls {

/// Overwrites memory in a way that the compiler does not leave out.
void wipe(std::span<char> memory) noexcept;
/// Overwrites the whole capacity of `text`, and empties it.
void wipe(std::string& text) noexcept;

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
