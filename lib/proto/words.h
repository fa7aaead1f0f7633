#pragma once

// Words of a line, as a mail server separates them.

#include <cstddef>
#include <initializer_list>
#include <string_view>

#include "lib/base/ascii.h"

namespace starttls::proto {

/// True for everything that separates words: Postfix accepts any white space, also before the verb.
/// A filter must not see fewer words than the server that reads the line next.
constexpr bool separates(char c) noexcept {
  return static_cast<unsigned char>(c) <= ' ';
}

/// Cuts the first word off `rest`. Returns an empty one if none is left.
constexpr std::string_view take_word(std::string_view& rest) noexcept {
  while (!rest.empty() && separates(rest.front())) rest.remove_prefix(1);
  std::size_t size = 0;
  while (size < rest.size() && !separates(rest[size])) ++size;
  const auto word = rest.substr(0, size);
  rest.remove_prefix(size);
  return word;
}

/// True if `word` is one of `words`, in any case.
constexpr bool is_any_of(std::string_view word,
                         std::initializer_list<std::string_view> words) noexcept {
  for (const auto candidate : words) {
    if (ascii::iequals(word, candidate)) return true;
  }
  return false;
}

}  // namespace starttls::proto
