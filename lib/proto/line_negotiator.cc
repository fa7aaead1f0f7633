#include "lib/proto/line_negotiator.h"

#include <utility>

namespace starttls::proto {

namespace {

/// True if the server has no reply to send after a line with this verdict. It cannot have seen what
/// we are only about to send (`spoke`), and where we go on in the clear the client speaks next.
/// What already waits then, even part of a line, was sent ahead of time to pass for an answer (N12,
/// B12). After `start_tls` the leg looks.
bool is_nothing_due(bool spoke, Verdict verdict) noexcept {
  return verdict != Verdict::start_tls && (spoke || verdict == Verdict::greeted);
}

}  // namespace

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
        return violation(rules, "an LF without CR", input.substr(0, i + 1));
      }
      return Line{input.substr(0, crlf ? i - 1 : i), input.substr(0, i + 1)};
    }
    // Before the look at the next octet, which may not have arrived: the limit is the same error
    // however the line is cut.
    if (i + 1 == rules.limit) return violation(rules, "a line that is too long", input);
    if (c == '\0') return violation(rules, "a NUL", input.substr(0, i + 1));
    if (c == '\r' && i + 1 < input.size() && input[i + 1] != '\n') {
      return violation(rules, "a CR without LF", input.substr(0, i + 2));
    }
  }
  return std::nullopt;
}

Result<> ReplyMeter::add(const Line& line) {
  octets_ += line.raw.size();
  if (octets_ <= kMaxReply) return {};
  return fail(Errc::protocol, "server sent a reply that is too long", peer_words(line.text));
}

Result<Step> LineUpstream::step(std::string_view input, std::string& to_server) {
  Step step;
  while (step.verdict == Verdict::need_more) {
    const auto line = frame(input.substr(step.consumed), rules_);
    if (!line) return fail(line.error());
    if (!line->has_value()) break;
    if (const auto size = meter_.add(**line); !size) return fail(size.error());

    const auto written_before = to_server.size();
    const auto verdict = on_line(**line, to_server);
    if (!verdict) return fail(verdict.error());
    step.consumed += (*line)->raw.size();
    step.verdict = *verdict;

    const bool spoke = to_server.size() != written_before;
    if (spoke) meter_.reset();
    if (is_nothing_due(spoke, step.verdict) && unsolicited_ == Unsolicited::refuse &&
        step.consumed < input.size()) {
      return fail(Attack::unsolicited, "server sent a reply nobody asked for",
                  peer_words(input.substr(step.consumed)));
    }
  }
  return step;
}

}  // namespace starttls::proto
