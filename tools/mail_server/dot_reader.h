#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string_view>

namespace starttls::bench {

/// Reads message data as SMTP, POP3 and NNTP transfer it (RFC 5321 §4.5.2). A dot at the beginning
/// of a line is doubled, and a lone dot is the end. A line begins after CRLF and nowhere else. So a
/// bare LF, a lone CR and a NUL are content like any other byte.
///
/// Input may be cut anywhere. It is not copied, and only its last two bytes are kept.
class DotReader {
 public:
  /// Gets a piece of content, its dots no longer doubled. The piece is a view into the input.
  using OnContent = std::function<void(std::string_view)>;

  /// Returns how much of `input` belongs to the message, its end included. Do not call it after
  /// `finished`.
  std::size_t take(std::string_view input, const OnContent& on_content);
  /// True after the lone dot.
  [[nodiscard]] bool finished() const noexcept { return state_ == State::finished; }

 private:
  enum class State : std::uint8_t { text, dot, dot_cr, finished };

  [[nodiscard]] bool begins_line(std::string_view input, std::size_t position) const noexcept;

  State state_ = State::text;
  char before_[2] = {'\r', '\n'};  // the last bytes of earlier input: data begins with a line
};

}  // namespace starttls::bench
