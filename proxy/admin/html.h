#pragma once

// A page of HTML that is being written. Text from outside goes in by `text` only, which escapes it.

#include <cstddef>
#include <string>
#include <string_view>
#include <utility>

namespace starttls {

/// Returns `text` with no byte that HTML gives a meaning to, neither between tags nor in a quoted
/// attribute. Bytes that are not UTF-8 become U+FFFD.
[[nodiscard]] std::string escape_html(std::string_view text);

class Html {
 public:
  /// Appends our own markup as it is. The parameter is an array, so that only a literal fits.
  template <std::size_t kSize>
  Html& markup(const char (&literal)[kSize]) {
    out_.append(literal, kSize - 1);
    return *this;
  }
  /// Appends one of our constants as it is.
  Html& constant(std::string_view markup) {
    out_ += markup;
    return *this;
  }
  /// Appends any text.
  Html& text(std::string_view text) {
    out_ += escape_html(text);
    return *this;
  }
  template <class Number>
  Html& number(Number value) {
    out_ += std::to_string(value);
    return *this;
  }

  [[nodiscard]] std::string take() noexcept { return std::move(out_); }

 private:
  std::string out_;
};

}  // namespace starttls
