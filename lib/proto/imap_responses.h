#pragma once

// The responses of an IMAP server, in the form in which both roles read them (RFC 9051 §7).

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

#include "lib/base/ascii.h"
#include "lib/base/error.h"
#include "lib/proto/imap_syntax.h"
#include "lib/proto/lines.h"
#include "lib/proto/words.h"

namespace starttls::proto::imap {

/// The first line of a response: "TAG WORD rest", "* WORD rest", "+ ...".
struct Response {
  explicit Response(std::string_view line) noexcept : rest(line) {
    tag = take_field(rest);
    word = take_field(rest);
  }
  [[nodiscard]] bool untagged() const noexcept { return tag == "*"; }
  [[nodiscard]] bool asks_for_more() const noexcept { return tag.starts_with('+'); }
  [[nodiscard]] bool is(std::string_view name) const noexcept { return ascii::iequals(word, name); }
  /// True if its rest is text for people. Such text announces no literal, even if it looks like one
  /// (RFC 9051 §7.1).
  [[nodiscard]] bool is_status() const noexcept {
    return asks_for_more() || is_any_of(word, {"OK", "NO", "BAD", "BYE", "PREAUTH"});
  }

  std::string_view tag;
  std::string_view word;
  std::string_view rest;
};

/// Cuts the server's words into responses. Most are one line. Others alternate between lines and
/// literals, and the bytes of a literal are never read as a line.
class ResponseReader {
 public:
  ResponseReader(LineRules rules, std::size_t limit) noexcept : rules_(rules), limit_(limit) {}

  struct Piece {
    std::string_view text;  ///< of a line, without its end
    std::string_view raw;   ///< as it came
    bool first;             ///< of its response
    bool last;
  };

  /// Returns the first piece of `input`, or nothing if it is incomplete. Any bytes of a literal are
  /// a piece. Errors: protocol, also for a response beyond the limit, as soon as it is announced.
  [[nodiscard]] Result<std::optional<Piece>> next(std::string_view input);

  [[nodiscard]] bool inside_response() const noexcept { return inside_; }

 private:
  LineRules rules_;
  std::size_t limit_;
  std::size_t bytes_ = 0;  ///< of the current response, announced ones included
  std::size_t literal_left_ = 0;
  bool inside_ = false;
  bool is_status_ = false;
};

/// Returns the list of the code "[CAPABILITY ...]" that `text` begins with, or nothing.
[[nodiscard]] std::optional<std::string_view> capability_code(std::string_view text) noexcept;

/// Returns the part of a status that is meant for people, in printable characters. Response codes
/// at its beginning are cut off, also one that appears only after another code or a control
/// character is gone.
[[nodiscard]] std::string human_text(std::string_view text);

}  // namespace starttls::proto::imap
