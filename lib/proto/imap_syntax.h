#pragma once

// The words of IMAP, in the form in which both roles read them: fields, atoms, literals (RFC 9051
// §9).

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

#include "lib/base/ascii.h"

namespace starttls::proto::imap {

/// Longest tag of a client: UUIDs are in use, longer tags are not. It bounds the memory for tags
/// that wait for replies.
inline constexpr std::size_t kMaxTag = 64;

/// Cuts off the text before the first space, and that space. Unlike `take_word` it follows the
/// grammar to the letter. A filter that read two spaces as one would see another word than the peer
/// that reads the line next.
inline std::string_view take_field(std::string_view& rest) noexcept {
  const auto field = rest.substr(0, rest.find(' '));
  rest.remove_prefix(std::min(rest.size(), field.size() + 1));
  return field;
}

/// "{12}" or "{12+}" at the end of a line: that many bytes follow, which are no lines (RFC 9051
/// §4.3; "~{12}" ends alike).
struct Literal {
  std::uint64_t size;  ///< for a number beyond 64 bits, the largest value
  bool waits;          ///< synchronizing: it comes only after a "+" (RFC 7888)
};

/// Returns the literal that `line` announces, or nothing.
[[nodiscard]] inline std::optional<Literal> literal_at_end(std::string_view line) noexcept {
  const auto brace = line.rfind('{');
  if (!line.ends_with('}') || brace == std::string_view::npos) return std::nullopt;
  auto digits = line.substr(brace + 1);
  digits.remove_suffix(1);
  const bool waits = !digits.ends_with('+');
  if (!waits) digits.remove_suffix(1);
  if (digits.empty() || !std::all_of(digits.begin(), digits.end(), ascii::is_digit)) {
    return std::nullopt;
  }
  return Literal{ascii::parse_number(digits).value_or(UINT64_MAX), waits};
}

/// True for ATOM-CHARs and, for tags, "]" (RFC 9051 §9).
[[nodiscard]] inline bool is_atom(std::string_view text) noexcept {
  constexpr std::string_view kSpecials = "(){ %*\"\\";
  return !text.empty() && std::all_of(text.begin(), text.end(), [=](char c) {
    return ascii::is_printable(c) && kSpecials.find(c) == std::string_view::npos;
  });
}

[[nodiscard]] inline bool is_tag(std::string_view text) noexcept {
  return is_atom(text) && text.size() <= kMaxTag && text.find('+') == std::string_view::npos;
}

}  // namespace starttls::proto::imap
