#pragma once

// The replies of an SMTP server, in the form in which roles and logins read them (RFC 5321 §4.2).

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "lib/base/ascii.h"
#include "lib/base/error.h"
#include "lib/proto/lines.h"
#include "lib/proto/words.h"

namespace starttls::proto::smtp {

/// A line of a reply, split into its parts.
struct ReplyLine {
  unsigned code;
  bool first;
  bool last;
  std::string_view text;
};

constexpr bool is_refusal(unsigned code) noexcept {
  return code >= 400 && code <= 599;
}

/// True if the server closes the connection after it.
constexpr bool closes(unsigned code) noexcept {
  return code == 221 || code == 421;
}

/// Splits lines of replies (RFC 5321 §4.2): three digits, then "-" on all but the last line; the
/// last may be the bare code. One reply has one code.
class ReplyReader {
 public:
  /// Adds a line. Errors: protocol.
  [[nodiscard]] Result<ReplyLine> add(const Line& line) {
    const auto code = ascii::parse_number(line.text.substr(0, 3));
    const char separator = line.text.size() > 3 ? line.text[3] : ' ';
    if (line.text.size() < 3 || !code || (separator != ' ' && separator != '-')) {
      return fail(Errc::protocol, "server sent an invalid reply", peer_words(line.text));
    }
    const bool first = !code_.has_value();
    if (!first && *code_ != *code) {
      return fail(Errc::protocol, "server sent one reply with two codes", peer_words(line.text));
    }
    const bool last = separator == ' ';
    code_ = last ? std::nullopt : code;
    const auto text = line.text.size() > 3 ? line.text.substr(4) : std::string_view{};
    return ReplyLine{static_cast<unsigned>(*code), first, last, text};
  }

 private:
  std::optional<std::uint64_t> code_;  ///< of the reply with a last line still to come
};

/// Returns the refusal of a hello or of STARTTLS for the log, whole if it fits into a line (D6).
[[nodiscard]] inline std::string whole_refusal(std::string_view words) {
  return std::string(words.substr(0, kMaxOwnLine));
}

/// The words of a reply in one line, for people: its code once, then the text of each line (D6).
class ReplyWords {
 public:
  void add(const Line& line, const ReplyLine& reply) {
    auto text = reply.text;
    if (reply.first) {
      words_ = line.text.substr(0, kCodeSize);
      auto rest = text;
      enhanced_code_ = take_word(rest);
    } else if (auto rest = text;
               is_enhanced_code(enhanced_code_) && take_word(rest) == enhanced_code_) {
      text = rest.substr(rest.empty() ? 0 : 1);  // each line repeats it (RFC 2034 §4)
    }
    if (words_.size() >= kMaxOwnLine || text.empty()) return;
    words_ += ' ';
    words_ += text.substr(0, kMaxOwnLine);
  }
  [[nodiscard]] std::string_view view() const noexcept { return words_; }

 private:
  static constexpr std::size_t kCodeSize = 3;
  static bool is_enhanced_code(std::string_view word) noexcept {
    return word.size() >= 5 && (word[0] == '4' || word[0] == '5') && word[1] == '.';
  }

  std::string words_;
  std::string enhanced_code_;  ///< the first word of the first line, a code or not
};

}  // namespace starttls::proto::smtp
