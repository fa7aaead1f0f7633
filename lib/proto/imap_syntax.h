#pragma once

// What both roles of IMAP read by: fields, literals, responses (RFC 9051 §9).

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "lib/base/ascii.h"
#include "lib/base/error.h"
#include "lib/proto/lines.h"
#include "lib/proto/words.h"

namespace starttls::proto::imap {

/// Longest tag of a client: UUIDs are in use, more is not. It bounds what we remember and repeat.
inline constexpr std::size_t kMaxTag = 64;

/// Cuts off what stands before the first space, and that space. Unlike `take_word` this is the
/// grammar to the letter: a filter that took two spaces for one would see another word than the
/// peer behind it.
inline std::string_view take_field(std::string_view& rest) noexcept {
  const auto field = rest.substr(0, rest.find(' '));
  rest.remove_prefix(std::min(rest.size(), field.size() + 1));
  return field;
}

/// "{12}" or "{12+}" at the end of a line: that many octets follow, which are no lines (RFC 9051
/// §4.3; "~{12}" ends alike).
struct Literal {
  std::uint64_t size;  ///< of a number beyond 64 bits, the largest there is
  bool waits;          ///< synchronising: it comes only after a "+" (RFC 7888)
};

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

/// ATOM-CHAR and, for tags, "]" (RFC 9051 §9).
[[nodiscard]] inline bool is_atom(std::string_view text) noexcept {
  constexpr std::string_view kSpecials = "(){ %*\"\\";
  return !text.empty() && std::all_of(text.begin(), text.end(), [=](char c) {
    return ascii::is_printable(c) && kSpecials.find(c) == std::string_view::npos;
  });
}

[[nodiscard]] inline bool is_tag(std::string_view text) noexcept {
  return is_atom(text) && text.size() <= kMaxTag && text.find('+') == std::string_view::npos;
}

/// The first line of a response: "TAG WORD rest", "* WORD rest", "+ ...".
struct Response {
  explicit Response(std::string_view line) noexcept : rest(line) {
    tag = take_field(rest);
    word = take_field(rest);
  }
  [[nodiscard]] bool untagged() const noexcept { return tag == "*"; }
  [[nodiscard]] bool asks_for_more() const noexcept { return tag.starts_with('+'); }
  [[nodiscard]] bool is(std::string_view name) const noexcept { return ascii::iequals(word, name); }
  /// Its rest is text for people, which holds no literals whatever it looks like (RFC 9051 §7.1).
  [[nodiscard]] bool is_status() const noexcept {
    return asks_for_more() || is_any_of(word, {"OK", "NO", "BAD", "BYE", "PREAUTH"});
  }

  std::string_view tag;
  std::string_view word;
  std::string_view rest;
};

/// Cuts what the server says into responses. Most are a line; with literals they are lines and
/// counted octets in turn, and nothing inside a literal is taken for a line.
class ResponseReader {
 public:
  ResponseReader(LineRules rules, std::size_t limit) noexcept : rules_(rules), limit_(limit) {}

  struct Piece {
    std::string_view text;  ///< of a line, without its end
    std::string_view raw;   ///< as it came
    bool first;             ///< of its response
    bool last;
  };

  /// The first piece of `input`; nothing where it is still incomplete. Of a literal any octets make
  /// one. Errors: protocol, also for a response beyond the limit, as soon as that is announced.
  [[nodiscard]] Result<std::optional<Piece>> next(std::string_view input) {
    if (literal_left_ > 0) {
      if (input.empty()) return std::nullopt;
      const auto raw = input.substr(0, literal_left_);
      literal_left_ -= raw.size();
      return Piece{{}, raw, false, false};
    }
    const auto line = next_line(input, rules_);
    if (!line) return fail(line.error());
    if (!line->has_value()) return std::nullopt;
    const auto [text, raw] = **line;

    const bool first = !inside_;
    if (first) {
      octets_ = 0;
      is_status_ = Response(text).is_status();
    }
    inside_ = false;
    std::uint64_t announced = 0;
    if (const auto literal = literal_at_end(text); literal && !is_status_) {
      inside_ = true;
      announced = literal->size;
    }
    octets_ += raw.size();
    if (octets_ > limit_ || announced > limit_ - octets_) {
      return fail(Errc::protocol, "server sent a response that is too long", peer_words(text));
    }
    literal_left_ = static_cast<std::size_t>(announced);
    octets_ += literal_left_;
    return Piece{text, raw, first, !inside_};
  }

  [[nodiscard]] bool inside_response() const noexcept { return inside_; }

 private:
  LineRules rules_;
  std::size_t limit_;
  std::size_t octets_ = 0;  ///< of the response at hand, announced ones included
  std::size_t literal_left_ = 0;
  bool inside_ = false;
  bool is_status_ = false;
};

/// "[CAPABILITY " in front of `text`: where its list is; nothing where that code does not stand
/// there.
[[nodiscard]] inline std::optional<std::string_view> capability_code(
    std::string_view text) noexcept {
  constexpr std::string_view kCode = "[CAPABILITY";
  if (!ascii::istarts_with(text, kCode)) return std::nullopt;
  const auto list = text.substr(kCode.size(), text.find(']') - kCode.size());
  if (text.find(']') == std::string_view::npos || !list.starts_with(' ')) return std::nullopt;
  return list.substr(1);
}

/// What a person is meant to read of a status: printable, and with no response code in front, also
/// none that only shows once another one or a control character is taken away.
[[nodiscard]] inline std::string human_text(std::string_view text) {
  const std::string printable = ascii::printable(text, text.size());
  auto rest = ascii::trim(printable);
  while (rest.starts_with('[')) {
    const auto end = rest.find(']');
    rest = end == std::string_view::npos ? std::string_view{} : ascii::trim(rest.substr(end + 1));
  }
  return std::string(rest);
}

}  // namespace starttls::proto::imap
