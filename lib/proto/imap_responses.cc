#include "lib/proto/imap_responses.h"

#include <cstdint>

namespace starttls::proto::imap {

Result<std::optional<ResponseReader::Piece>> ResponseReader::next(std::string_view input) {
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
    bytes_ = 0;
    is_status_ = Response(text).is_status();
  }
  inside_ = false;
  std::uint64_t announced = 0;
  if (const auto literal = literal_at_end(text); literal && !is_status_) {
    inside_ = true;
    announced = literal->size;
  }
  bytes_ += raw.size();
  if (bytes_ > limit_ || announced > limit_ - bytes_) {
    return fail(Errc::protocol, "server sent a response that is too long", peer_words(text));
  }
  literal_left_ = static_cast<std::size_t>(announced);
  bytes_ += literal_left_;
  return Piece{text, raw, first, !inside_};
}

std::optional<std::string_view> capability_code(std::string_view text) noexcept {
  constexpr std::string_view kCode = "[CAPABILITY";
  if (!ascii::istarts_with(text, kCode)) return std::nullopt;
  const auto list = text.substr(kCode.size(), text.find(']') - kCode.size());
  if (text.find(']') == std::string_view::npos || !list.starts_with(' ')) return std::nullopt;
  return list.substr(1);
}

std::string human_text(std::string_view text) {
  const std::string printable = ascii::printable(text, text.size());
  auto rest = ascii::trim(printable);
  while (rest.starts_with('[')) {
    const auto end = rest.find(']');
    rest = end == std::string_view::npos ? std::string_view{} : ascii::trim(rest.substr(end + 1));
  }
  return std::string(rest);
}

}  // namespace starttls::proto::imap
