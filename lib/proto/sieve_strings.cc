#include "lib/proto/sieve_strings.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "lib/base/ascii.h"

namespace starttls::proto::sieve {
namespace {

/// The way in which a text continues after its line end.
struct Tail {
  bool well_formed;
  std::optional<std::uint64_t> literal = {};  ///< that many bytes follow, which are no lines
  bool plus = false;                          ///< every literal of a client has it
};

/// Finds a literal at the end. "{5}" and "{5+}" are literals only there and outside of quotes;
/// anywhere else outside of quotes a brace has no meaning (RFC 5804 §4).
Tail tail_of(std::string_view text) noexcept {
  constexpr auto kNone = std::string_view::npos;
  bool quoted = false;
  auto brace = kNone;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '"') {
      quoted = !quoted;
    } else if (quoted && text[i] == '\\') {
      ++i;
    } else if (!quoted && text[i] == '{' && brace == kNone) {
      brace = i;
    }
  }
  if (quoted) return {.well_formed = false};
  if (brace == kNone) return {.well_formed = true};
  auto size = text.substr(brace + 1);
  if (!size.ends_with('}')) return {.well_formed = false};
  size.remove_suffix(1);
  const bool plus = size.ends_with('+');
  if (plus) size.remove_suffix(1);
  const auto bytes = ascii::parse_number(size);
  return {.well_formed = bytes.has_value(), .literal = bytes, .plus = plus};
}

/// Returns an empty string that takes so many bytes where they are, on the heap. So there is one
/// copy, and a caller that has a password in it can wipe that.
std::string empty_string(std::size_t size) {
  constexpr std::size_t kBeyondTheObject = 64;
  std::string value;
  value.reserve(std::max(size, kBeyondTheObject));
  return value;
}

}  // namespace

Result<std::optional<Line>> next_whole_line(std::string_view input, LineRules rules) {
  const auto limit = rules.limit;
  std::size_t size = 0;
  while (true) {
    rules.limit = limit - size;
    const auto line = next_line(input.substr(size), rules);
    if (!line) return fail(line.error());
    if (!line->has_value()) return std::nullopt;
    const auto [text, raw] = **line;
    const auto tail = tail_of(text);
    if (!tail.well_formed) return violation(rules, "a malformed string", input);
    if (!tail.literal)
      return Line{input.substr(0, size + text.size()), input.substr(0, size + raw.size())};
    // It would wait for a word of ours that ManageSieve does not have.
    if (!tail.plus && rules.violation == Errc::client_protocol) {
      return violation(rules, "a literal without +", input);
    }
    size += raw.size();
    if (*tail.literal >= limit - size) return violation(rules, "a literal that is too long", input);
    size += static_cast<std::size_t>(*tail.literal);
    if (input.size() < size) return std::nullopt;
  }
}

std::optional<std::string> take_string(std::string_view& rest) {
  if (rest.starts_with('"')) {
    auto value = empty_string(rest.size());
    std::size_t i = 1;
    while (i < rest.size() && rest[i] != '"') {
      if (rest[i] == '\\' && i + 1 < rest.size()) ++i;
      value += rest[i++];
    }
    if (i == rest.size()) return std::nullopt;
    rest.remove_prefix(i + 1);
    return value;
  }
  const auto head = rest.substr(0, rest.find('\n') + 1);
  if (!head.starts_with('{') || head.empty()) return std::nullopt;
  const auto size = ascii::parse_number(head.substr(1, head.find_first_of("+}") - 1));
  if (!size || *size > rest.size() - head.size()) return std::nullopt;
  const auto bytes = static_cast<std::size_t>(*size);
  auto value = empty_string(bytes);
  value += rest.substr(head.size(), bytes);
  rest.remove_prefix(head.size() + bytes);
  return value;
}

}  // namespace starttls::proto::sieve
