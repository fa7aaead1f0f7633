#pragma once

// Locale-free helpers for protocol text. <cctype> depends on the locale and is undefined for
// negative chars; mail protocols are ASCII (RFC 5321 §2.4).

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace starttls::ascii {

constexpr char to_upper(char c) noexcept {
  return c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c;
}
constexpr char to_lower(char c) noexcept {
  return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
}
constexpr bool is_digit(char c) noexcept {
  return c >= '0' && c <= '9';
}
constexpr bool is_alphanumeric(char c) noexcept {
  const char lower = to_lower(c);
  return is_digit(c) || (lower >= 'a' && lower <= 'z');
}
constexpr bool is_printable(char c) noexcept {
  return c >= ' ' && c <= '~';
}
/// True for the control characters of ASCII. Bytes beyond ASCII do not count.
constexpr bool is_control(char c) noexcept {
  return static_cast<unsigned char>(c) < ' ' || c == '\x7f';
}

/// True if `text` has no NUL, CR or LF. A peer would read more than one text or line from it.
constexpr bool is_one_line(std::string_view text) noexcept {
  return text.find_first_of(std::string_view("\0\r\n", 3)) == std::string_view::npos;
}

constexpr bool iequals(std::string_view a, std::string_view b) noexcept {
  if (a.size() != b.size()) return false;
  for (std::size_t i = 0; i < a.size(); ++i) {
    if (to_upper(a[i]) != to_upper(b[i])) return false;
  }
  return true;
}

constexpr bool istarts_with(std::string_view text, std::string_view prefix) noexcept {
  return text.size() >= prefix.size() && iequals(text.substr(0, prefix.size()), prefix);
}

constexpr bool iends_with(std::string_view text, std::string_view suffix) noexcept {
  return text.size() >= suffix.size() && iequals(text.substr(text.size() - suffix.size()), suffix);
}

/// Returns `text` without spaces and tabs at either end.
constexpr std::string_view trim(std::string_view text) noexcept {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
  return text;
}

/// Returns the part before the first space, or all of `text` if it has no space.
constexpr std::string_view first_word(std::string_view text) noexcept {
  return text.substr(0, text.find(' '));
}

/// Returns what follows the first word and the spaces after it, without spaces at the end.
constexpr std::string_view after_first_word(std::string_view text) noexcept {
  const auto space = text.find(' ');
  return space == std::string_view::npos ? std::string_view{} : trim(text.substr(space));
}

/// Parses the whole of `text` as decimal digits without a sign. Returns nothing on overflow or if
/// `text` is anything else.
constexpr std::optional<std::uint64_t> parse_number(std::string_view text) noexcept {
  if (text.empty()) return std::nullopt;
  std::uint64_t value = 0;
  for (const char c : text) {
    if (!is_digit(c)) return std::nullopt;
    const auto digit = static_cast<std::uint64_t>(c - '0');
    if (value > (UINT64_MAX - digit) / 10) return std::nullopt;
    value = value * 10 + digit;
  }
  return value;
}

/// Escapes `text` for logs. Printable ASCII stays as it is. The rest becomes `\r`, `\n`, `\t`,
/// `\\`, `\"` or `\xNN`. Input after `limit` bytes is cut off, and "..." follows. The result never
/// contains a control character.
inline std::string escape(std::string_view text, std::size_t limit = 200) {
  constexpr std::string_view kHex = "0123456789abcdef";
  std::string out;
  const bool cut = text.size() > limit;
  for (const char c : text.substr(0, limit)) {
    if (c == '\\' || c == '"') {
      out += '\\';
      out += c;
    } else if (is_printable(c)) {
      out += c;
    } else if (c == '\r') {
      out += "\\r";
    } else if (c == '\n') {
      out += "\\n";
    } else if (c == '\t') {
      out += "\\t";
    } else {
      const auto byte = static_cast<unsigned char>(c);
      out += "\\x";
      out += kHex[byte >> 4U];
      out += kHex[byte & 15U];
    }
  }
  if (cut) out += "...";
  return out;
}

/// Returns `text` for clients: only its printable ASCII characters, and at most `limit` bytes.
inline std::string printable(std::string_view text, std::size_t limit = 512) {
  std::string out;
  for (const char c : text) {
    if (out.size() == limit) break;
    if (is_printable(c)) out += c;
  }
  return out;
}

}  // namespace starttls::ascii
