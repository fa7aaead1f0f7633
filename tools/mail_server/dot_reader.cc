#include "tools/mail_server/dot_reader.h"

namespace starttls::bench {

bool DotReader::begins_line(std::string_view input, std::size_t position) const noexcept {
  const char last = position >= 1 ? input[position - 1] : before_[1];
  const char last_but_one = position >= 2 ? input[position - 2] : before_[position];
  return last_but_one == '\r' && last == '\n';
}

std::size_t DotReader::take(std::string_view input, const OnContent& on_content) {
  std::size_t content = 0;  // start of the content that was not handed on yet
  std::size_t position = 0;
  const auto hand_on_until = [&](std::size_t end) {
    if (end > content) on_content(input.substr(content, end - content));
  };
  while (position < input.size()) {
    switch (state_) {
      case State::text: {
        const std::size_t dot =
            input.find('.', position);  // memchr: nearly all of the cost of a message
        if (dot == std::string_view::npos) {
          position = input.size();
          break;
        }
        position = dot + 1;
        if (!begins_line(input, dot)) break;
        hand_on_until(dot);  // such a dot is never content
        content = position;
        state_ = State::dot;
        break;
      }
      case State::dot:
        if (input[position] == '\r') {
          ++position;
          state_ = State::dot_cr;
        } else {
          state_ = State::text;
        }
        break;
      case State::dot_cr:
        if (input[position] == '\n') {
          state_ = State::finished;
          return position + 1;
        }
        if (position == 0) on_content("\r");  // held back when the input before this one ended
        state_ = State::text;
        break;
      case State::finished:
        return 0;
    }
  }
  // A CR after the dot may belong to the end of the message, so it waits for the next input.
  if (state_ != State::dot_cr) hand_on_until(input.size());
  if (input.size() == 1) {
    before_[0] = before_[1];
    before_[1] = input[0];
  } else if (input.size() >= 2) {
    before_[0] = input[input.size() - 2];
    before_[1] = input[input.size() - 1];
  }
  return input.size();
}

}  // namespace starttls::bench
