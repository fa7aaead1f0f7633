#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string_view>

namespace starttls::bench {

/// Message data as SMTP, POP3 and NNTP transfer it: lines, a dot doubled at their beginning, a lone
/// dot at the end (RFC 5321 §4.5.2). A line begins behind CRLF and nowhere else, so a bare LF, a
/// lone CR and a NUL are content like any other octet.
///
/// Input may be cut anywhere. Nothing is copied and nothing is kept but the last two octets.
class DotReader {
 public:
  /// A piece of content, dots undoubled; a view into the input.
  using OnContent = std::function<void(std::string_view)>;

  /// Returns how much of `input` belongs to the message, its end included. Not after `finished`.
  std::size_t take(std::string_view input, const OnContent& on_content);
  /// The lone dot has passed.
  [[nodiscard]] bool finished() const noexcept { return state_ == State::finished; }

 private:
  enum class State : std::uint8_t { text, dot, dot_cr, finished };

  [[nodiscard]] bool begins_line(std::string_view input, std::size_t position) const noexcept;

  State state_ = State::text;
  char before_[2] = {'\r', '\n'};  // the last octets of earlier input: data begins with a line
};

}  // namespace starttls::bench
