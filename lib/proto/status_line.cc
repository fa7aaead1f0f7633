#include "lib/proto/status_line.h"

#include <algorithm>
#include <cassert>
#include <cstddef>
#include <utility>

#include "lib/base/ascii.h"

namespace starttls::proto {
namespace {

bool contains(std::span<const std::string_view> words, std::string_view word) noexcept {
  return std::find(words.begin(), words.end(), word) != words.end();
}

}  // namespace

// ---------------------------------------------------------------- upstream

StatusUpstream::StatusUpstream(const RoleSettings& settings, const StatusDialect& dialect)
    : LineUpstream(settings), settings_(settings), dialect_(dialect) {}

std::string_view StatusUpstream::state() const noexcept {
  static constexpr std::string_view kStateNames[] = {"greeting", "starttls", "tls", "done"};
  return kStateNames[static_cast<std::size_t>(state_)];
}

Result<Verdict> StatusUpstream::secured(std::string&) {
  assert(state_ == State::tls);
  state_ = State::done;
  // The server is back at its start and silent: the client's first command is the first it sees.
  return Verdict::greeted;
}

Result<Verdict> StatusUpstream::on_line(const Line& line, std::string& to_server) {
  const auto status = dialect_.read_status(line.text);
  if (!status) return fail(Errc::protocol, "server sent an invalid reply", peer_words(line.text));
  switch (state_) {
    case State::greeting:
      return on_greeting(line, *status, to_server);
    case State::starttls:
      return on_starttls(line, *status);
    case State::tls:
    case State::done:
      break;
  }
  assert(false && "step() after the role has ended");
  return unasked(line.text);
}

Result<Verdict> StatusUpstream::on_greeting(const Line& line, const Status& status,
                                            std::string& to_server) {
  if (!upgrades()) greeting_ = line.raw;
  if (status.refusal) return refused_greeting(line.text);
  if (!contains(dialect_.welcomes, status.word)) {
    return fail(Errc::protocol, "server greeted with neither a welcome nor a refusal",
                peer_words(line.text));
  }
  if (!upgrades()) return Verdict::greeted;
  greeting_ =
      reduced_greeting(std::string(status.word) + ' ', status.text, settings_, dialect_.service);
  if (!asks_for_tls()) return Verdict::greeted;
  to_server += dialect_.starttls.command;
  to_server += "\r\n";
  state_ = State::starttls;
  return Verdict::need_more;
}

/// True for one word only. No other success is a yes to STARTTLS (N2).
bool StatusUpstream::is_go_ahead(const Status& status) const noexcept {
  return status.word == dialect_.tls_status;
}

Result<Verdict> StatusUpstream::on_starttls(const Line& line, const Status& status) {
  if (is_go_ahead(status)) {
    state_ = State::tls;
    return Verdict::start_tls;
  }
  return stay_in_clear(
      {Errc::tls_refused, "server refused " + std::string(dialect_.starttls.command),
       peer_words(line.text)},
      contains(dialect_.closing, status.word));
}

// ---------------------------------------------------------------- downstream

StatusDownstream::StatusDownstream(const RoleSettings& settings, const StatusDialect& dialect)
    : LineDownstream(settings, dialect.starttls, dialect.login), dialect_(dialect) {}

Result<LineDownstream::ReplyPart> StatusDownstream::on_reply_line(const Line& line,
                                                                  std::string& to_client) {
  if (inside_reply()) return on_list_line(line, to_client);
  const auto status = dialect_.read_status(line.text);
  if (!status) return fail(Errc::protocol, "server sent an invalid reply", peer_words(line.text));
  to_client += line.raw;
  if (status->refuses_command) return ReplyPart::refusal;
  const bool for_list = edits_list() || asked() == Action::Kind::list;
  const bool begins_list = for_list && contains(dialect_.lists, status->word);
  list_has_lines_ = false;
  if (begins_list && login() != nullptr && asked() == Action::Kind::edit) login()->begin_offer();
  return begins_list ? ReplyPart::more : ReplyPart::last;
}

bool StatusDownstream::edits_list() const noexcept {
  return asked() == Action::Kind::edit || asked() == Action::Kind::mechanisms;
}

/// True for a status line where a list should begin, or in a list that we edit: no entry of such a
/// list looks like one. So the server has sent no list, or no end of it, and this is its next reply
/// (D5). Otherwise the replies that follow would count as the list.
bool StatusDownstream::lacks_end(const Line& line) const {
  return (edits_list() || !list_has_lines_) && dialect_.read_status(line.text).has_value();
}

LineDownstream::ReplyPart StatusDownstream::on_list_line(const Line& line, std::string& to_client) {
  if (line.text == ".") {
    if (asked() == Action::Kind::edit) to_client += own_lines();
    to_client += line.raw;
    return ReplyPart::last;
  }
  list_has_lines_ = true;
  if (login() != nullptr && asked() == Action::Kind::edit) login()->read_offer(line.text);
  if (!edits_list()) {
    to_client += line.raw;
  } else if (const auto kept = edit_capability(line.text)) {
    to_client += *kept;
    to_client += line.raw.substr(line.text.size());
  }
  return ReplyPart::more;
}

/// Returns the lines that the proxy adds to a list of capabilities.
std::string StatusDownstream::own_lines() const {
  std::string lines;
  if (login() != nullptr) lines += dialect_.login_lines;
  if (offers_starttls()) {
    lines += dialect_.starttls.command;
    lines += "\r\n";
  }
  return lines;
}

/// Returns a line of the list as the client may see it, or nothing if it must not see it.
std::optional<std::string> StatusDownstream::edit_capability(std::string_view text) const {
  auto rest = text;
  const auto keyword = take_word(rest);
  if (asked() == Action::Kind::mechanisms) {
    return is_barred_mechanism(keyword, bars_external()) ? std::nullopt
                                                         : std::optional{std::string(text)};
  }
  if (is_any_of(keyword, {dialect_.starttls.command, "XCLIENT", "XFORWARD"})) return std::nullopt;
  if (login() != nullptr && is_any_of(keyword, {"SASL", dialect_.login_capability})) {
    return std::nullopt;
  }
  if (!ascii::iequals(keyword, "SASL")) return std::string(text);
  const auto mechanisms = filter_mechanisms(rest, bars_external());
  if (!mechanisms) return std::string(text);
  if (mechanisms->empty()) return std::nullopt;
  return std::string(keyword) + ' ' + *mechanisms;
}

}  // namespace starttls::proto
