#include "lib/proto/lines.h"

#include <utility>

namespace starttls::proto {

tl::unexpected<Error> violation(LineRules rules, std::string_view what, std::string_view input) {
  const bool by_client = rules.violation == Errc::client_protocol;
  std::string reason(by_client ? "client sent " : "server sent ");
  reason += what;
  return fail(rules.violation, std::move(reason), by_client ? std::string{} : peer_words(input));
}

Result<std::optional<Line>> next_line(std::string_view input, LineRules rules) {
  for (std::size_t i = 0; i < input.size(); ++i) {
    const char c = input[i];
    if (c == '\n') {
      const bool crlf = i > 0 && input[i - 1] == '\r';
      if (!crlf && rules.end == LineEnd::crlf) {
        // Only servers are held to CRLF (kClientRules).
        return fail(rules.violation, "server sent an LF without CR",
                    peer_words(input.substr(0, i + 1)));
      }
      return Line{input.substr(0, crlf ? i - 1 : i), input.substr(0, i + 1)};
    }
    // This check comes before the check of the next byte, which may not have arrived. So a line at
    // the limit gives the same error however it is cut.
    if (i + 1 == rules.limit) return violation(rules, "a line that is too long", input);
    if (c == '\0') return violation(rules, "a NUL", input.substr(0, i + 1));
    if (c == '\r' && i + 1 < input.size() && input[i + 1] != '\n') {
      return violation(rules, "a CR without LF", input.substr(0, i + 2));
    }
  }
  return std::nullopt;
}

bool is_too_long(std::string_view input, LineRules rules) {
  if (input.size() < rules.limit || input[rules.limit - 1] == '\n') return false;
  const auto head = input.substr(0, rules.limit - 1);
  const auto line = next_line(head, rules);
  return line && !line->has_value() && !head.ends_with('\r');  // its LF would be next
}

Result<> ReplyMeter::add(const Line& line) {
  bytes_ += line.raw.size();
  if (bytes_ <= kMaxReply) return {};
  return fail(Errc::protocol, "server sent a reply that is too long", peer_words(line.text));
}

}  // namespace starttls::proto
