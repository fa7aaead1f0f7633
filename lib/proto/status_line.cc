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
    : LineUpstream(line_rules(settings.upstream, Errc::protocol).end,
                   upgrades(settings.upstream) ? Unsolicited::refuse : Unsolicited::allow),
      settings_(settings),
      dialect_(dialect) {}

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
  if (!status) return fail(Errc::protocol, "server sent no reply", peer_words(line.text));
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
  return fail(Errc::protocol, "server sent a reply nobody asked for", peer_words(line.text));
}

Result<Verdict> StatusUpstream::on_greeting(const Line& line, const Status& status,
                                            std::string& to_server) {
  const bool upgrade = upgrades(settings_.upstream);
  if (!upgrade) greeting_ = line.raw;
  if (status.refusal) {
    return fail(Errc::greeting_refused, "server says: " + ascii::printable(line.text),
                peer_words(line.text));
  }
  if (!contains(dialect_.welcomes, status.word)) {
    return fail(Errc::protocol, "server greeted with neither a welcome nor a refusal",
                peer_words(line.text));
  }
  if (!upgrade) {
    state_ = State::done;
    return Verdict::greeted;
  }
  greeting_ =
      reduced_greeting(std::string(status.word) + ' ', status.text, settings_, dialect_.service);
  to_server += dialect_.starttls;
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
  std::string why = "server refused ";
  why += dialect_.starttls;
  const bool gone = contains(dialect_.closing, status.word);
  if (gone || settings_.upstream != TlsMode::opportunistic) {
    return fail(Errc::tls_refused, std::move(why), peer_words(line.text));
  }
  fallback_reason_ = std::move(why);
  state_ = State::done;
  return Verdict::greeted;
}

// ---------------------------------------------------------------- downstream

StatusDownstream::StatusDownstream(const RoleSettings& settings,
                                   const StatusDialect& dialect) noexcept
    : dialect_(dialect),
      client_rules_(line_rules(settings.downstream, Errc::client_protocol)),
      server_rules_(line_rules(settings.upstream, Errc::protocol)),
      downstream_(settings.downstream),
      external_(settings.client_certificate),
      offers_tls_(upgrades(settings.downstream)) {}

std::string_view StatusDownstream::state() const noexcept {
  static constexpr std::string_view kStateNames[] = {"greeting", "commands",  "starttls",
                                                     "tls",      "committed", "done"};
  return kStateNames[static_cast<std::size_t>(state_)];
}

Result<Verdict> StatusDownstream::begin(std::string_view greeting, std::string& to_client) {
  to_client += greeting;
  state_ = State::commands;
  return Verdict::need_more;
}

Result<Verdict> StatusDownstream::secured(std::string&) {
  assert(state_ == State::tls && all_answered());
  state_ = State::commands;
  offers_tls_ = false;
  refusals_ = {};
  return Verdict::need_more;
}

Action StatusDownstream::action_for(std::string_view command) {
  auto rest = command;
  if (ascii::iequals(take_word(rest), dialect_.starttls)) return on_starttls(rest);
  const bool locked = offers_tls_ && downstream_ == TlsMode::starttls;
  return locked ? on_command_before_tls(command) : on_command(command);
}

Action StatusDownstream::on_starttls(std::string_view arguments) const noexcept {
  if (downstream_ == TlsMode::none) return {Action::Kind::refuse, dialect_.unavailable};
  if (!offers_tls_) return {Action::Kind::refuse, dialect_.already_active};
  if (!take_word(arguments).empty()) return {Action::Kind::refuse, dialect_.has_argument};
  const auto objection = starttls_objection();
  if (!objection.empty()) return {Action::Kind::refuse, objection};
  return {Action::Kind::start_tls};
}

Result<Step> StatusDownstream::from_client(std::string_view input, std::string& to_client,
                                           std::string& to_server) {
  Step step;
  // Behind STARTTLS nothing is looked at: it is the leg that refuses it.
  while (state_ == State::commands) {
    const auto line = next_line(input.substr(step.consumed), client_rules_);
    if (!line) return fail(line.error());
    if (!line->has_value()) return step;
    const auto [command, raw] = **line;

    const auto action = action_for(command);
    if (action.kind == Action::Kind::commit) {
      state_ = State::committed;
      step.verdict = Verdict::relay;
      return step;
    }
    if (expected_.size() == kMaxUnanswered) {
      return fail(Errc::client_protocol, "too many commands at once");
    }
    switch (action.kind) {
      case Action::Kind::pass:
      case Action::Kind::list:
      case Action::Kind::capabilities:
      case Action::Kind::mechanisms:
        expected_.push_back(action);
        to_server += raw;
        break;
      case Action::Kind::refuse:
        if (const auto counted = refusals_.add(); !counted) return fail(counted.error());
        [[fallthrough]];
      case Action::Kind::answer:
        expected_.push_back(action);
        send_our_replies(to_client);
        break;
      case Action::Kind::start_tls:
        state_ = State::starttls;
        if (all_answered()) {
          state_ = State::tls;
          step.verdict = Verdict::start_tls;
        }
        break;
      case Action::Kind::finish:
        assert(all_answered());
        to_client += action.words;
        state_ = State::done;
        step.verdict = Verdict::finish;
        break;
      case Action::Kind::commit:
        break;
    }
    step.consumed += raw.size();
  }
  return step;
}

Result<Step> StatusDownstream::from_server(std::string_view input, std::string& to_client) {
  Step step;
  // During the handshake the client can hear nothing.
  while (state_ != State::tls) {
    if (state_ == State::committed && all_answered()) {
      state_ = State::done;
      step.verdict = Verdict::relay;
      return step;
    }
    if (state_ == State::starttls && all_answered()) {
      state_ = State::tls;
      step.verdict = Verdict::start_tls;
      return step;
    }
    const auto line = next_line(input.substr(step.consumed), server_rules_);
    if (!line) return fail(line.error());
    if (!line->has_value()) return step;
    if (lacks_end(**line)) {
      end_list(to_client);
      continue;  // the line may already be the relay's
    }
    if (const auto passed = on_server_line(**line, to_client); !passed) return fail(passed.error());
    step.consumed += (*line)->raw.size();
  }
  return step;
}

Result<> StatusDownstream::on_server_line(const Line& line, std::string& to_client) {
  if (const auto size = meter_.add(line); !size) return fail(size.error());
  if (list_ != Action::Kind::pass) {
    on_list_line(line, to_client);
    return {};
  }

  const auto status = dialect_.read_status(line.text);
  if (!status) return fail(Errc::protocol, "server sent no reply", peer_words(line.text));
  to_client += line.raw;
  // Without a command it is the server's own word (it is closing), and passes.
  if (!expected_.empty()) {
    if (contains(dialect_.lists, status->word)) list_ = expected_.front().kind;
    expected_.pop_front();
  }
  if (list_ != Action::Kind::pass) return {};
  meter_.reset();
  if (status->refusal) {
    if (const auto counted = refusals_.add(); !counted) return fail(counted.error());
  }
  send_our_replies(to_client);
  return {};
}

bool StatusDownstream::edits_list() const noexcept {
  return list_ == Action::Kind::capabilities || list_ == Action::Kind::mechanisms;
}

/// True for a status line in a list that we edit. No entry of such a list looks like one, so the
/// server has sent no list, or no end of it, and this is its next reply (D5). Otherwise a mail that
/// follows would be edited as a list.
bool StatusDownstream::lacks_end(const Line& line) const {
  return edits_list() && dialect_.read_status(line.text).has_value();
}

void StatusDownstream::end_list(std::string& to_client) {
  list_ = Action::Kind::pass;
  meter_.reset();
  send_our_replies(to_client);
}

void StatusDownstream::on_list_line(const Line& line, std::string& to_client) {
  const bool editing = edits_list();
  if (line.text == ".") {
    if (list_ == Action::Kind::capabilities && offers_tls_) {
      to_client += dialect_.starttls;
      to_client += "\r\n";
    }
    to_client += line.raw;
    end_list(to_client);
    return;
  }
  if (!editing) {
    to_client += line.raw;
  } else if (const auto kept = edit_capability(line.text)) {
    to_client += *kept;
    to_client += line.raw.substr(line.text.size());
  }
}

/// One line of the list as the client may see it; nothing where it must not see it at all.
std::optional<std::string> StatusDownstream::edit_capability(std::string_view text) const {
  auto rest = text;
  const auto keyword = take_word(rest);
  if (list_ == Action::Kind::mechanisms) {
    return is_barred_mechanism(keyword, external_) ? std::nullopt
                                                   : std::optional{std::string(text)};
  }
  if (is_any_of(keyword, {dialect_.starttls, "XCLIENT", "XFORWARD"})) return std::nullopt;
  if (!ascii::iequals(keyword, "SASL")) return std::string(text);
  const auto mechanisms = filter_mechanisms(rest, external_);
  if (!mechanisms) return std::string(text);
  if (mechanisms->empty()) return std::nullopt;
  return std::string(keyword) + ' ' + *mechanisms;
}

/// Ours wait for the server's to all earlier commands, and never cut into one.
void StatusDownstream::send_our_replies(std::string& to_client) {
  const auto is_ours = [](Action::Kind kind) {
    return kind == Action::Kind::answer || kind == Action::Kind::refuse;
  };
  if (list_ != Action::Kind::pass) return;
  while (!expected_.empty() && is_ours(expected_.front().kind)) {
    to_client += expected_.front().words;
    expected_.pop_front();
  }
}

}  // namespace starttls::proto
