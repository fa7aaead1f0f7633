#pragma once

// Quoted strings of IMAP and ManageSieve (RFC 9051 §4.3, RFC 5804 §4). A backslash comes before a
// quote or a backslash.

#include <cstddef>
#include <string>
#include <string_view>

namespace starttls::proto {

/// True for the characters that end a quoted string, or escape its end.
constexpr bool needs_backslash(char c) noexcept {
  return c == '"' || c == '\\';
}

/// Appends `text` as a quoted string. It has no NUL, CR or LF.
inline void append_quoted(std::string& out, std::string_view text) {
  out += '"';
  for (const char c : text) {
    if (needs_backslash(c)) out += '\\';
    out += c;
  }
  out += '"';
}

/// Cuts the quoted string that `rest` begins with off it, and appends its text to `out`. A
/// backslash makes any character that follows it plain, also one that needs none: clients write
/// such, and Dovecot takes them. Returns false if the string has no end.
[[nodiscard]] inline bool take_quoted(std::string_view& rest, std::string& out) {
  std::size_t i = 1;
  while (i < rest.size() && rest[i] != '"') {
    if (rest[i] == '\\' && ++i == rest.size()) return false;
    out += rest[i++];
  }
  if (i == rest.size()) return false;
  rest.remove_prefix(i + 1);
  return true;
}

}  // namespace starttls::proto
