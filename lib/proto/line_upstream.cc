#include "lib/proto/line_upstream.h"

#include <utility>

#include "lib/base/ascii.h"

namespace starttls::proto {
namespace {

/// True if the server has no reply to send after a line with this verdict. It has not seen the
/// command that we are about to send (`spoke`). If we go on in the clear, no reply is due until the
/// client speaks. So bytes that wait then, even part of a line, were sent early to pass for an
/// answer (N12, B12). After `start_tls` the leg checks this itself.
bool is_nothing_due(bool spoke, Verdict verdict) noexcept {
  return verdict != Verdict::start_tls && (spoke || verdict == Verdict::greeted);
}

/// True if the next bytes are no reply, but an empty line or its beginning. Some servers send one
/// after a reply, which is a mistake and no attack (D16).
bool begins_empty_line(std::string_view input) noexcept {
  return input.starts_with('\r') || input.starts_with('\n');
}

}  // namespace

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

    if (step.verdict == Verdict::greeted) on_greeted();
    const bool spoke = to_server.size() != written_before;
    if (spoke) meter_.reset();
    if (!is_nothing_due(spoke, step.verdict) || !upgrades() || server_closes()) continue;
    const auto early = input.substr(step.consumed);
    if (begins_empty_line(early)) {
      return fail(Errc::protocol, "server sent an empty line", peer_words(early));
    }
    if (!early.empty()) return unasked(early);
  }
  return step;
}

Result<Verdict> LineUpstream::stay_in_clear(Error why, bool server_closes) {
  if (mode_ != TlsMode::opportunistic) return fail(std::move(why));
  fallback_reason_ = std::move(why.reason);
  server_closes_ = server_closes;
  return Verdict::greeted;
}

tl::unexpected<Error> LineUpstream::refused_greeting(std::string_view words) {
  return fail(Errc::greeting_refused, "server says: " + ascii::printable(words), peer_words(words));
}

tl::unexpected<Error> LineUpstream::unasked(std::string_view words) {
  return fail(Attack::unsolicited, "server sent a reply that no command asked for",
              peer_words(words));
}

}  // namespace starttls::proto
