#include "lib/proto/sieve.h"

#include <cassert>
#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "lib/base/ascii.h"
#include "lib/proto/edits.h"
#include "lib/proto/line_upstream.h"
#include "lib/proto/sieve_strings.h"
#include "lib/proto/words.h"

namespace starttls::proto {
namespace {

using sieve::next_whole_line;
using sieve::quoted_string;
using sieve::take_string;

// ---------------------------------------------------------------- replies

/// A reply is a list, which may be empty, and one of the other three (RFC 5804 §1.2).
enum class ReplyKind : std::uint8_t { capability, ok, no, bye };

/// Errors: protocol.
Result<ReplyKind> kind_of(const Line& line) {
  if (line.text.starts_with('"') || line.text.starts_with('{')) return ReplyKind::capability;
  const auto word = ascii::first_word(line.text);
  if (ascii::iequals(word, "OK")) return ReplyKind::ok;
  if (ascii::iequals(word, "NO")) return ReplyKind::no;
  if (ascii::iequals(word, "BYE")) return ReplyKind::bye;
  return fail(Errc::protocol, "server sent no reply", peer_words(line.text));
}

bool is_starttls(const Line& capability) {
  auto rest = capability.text;
  const auto name = take_string(rest);
  return name && ascii::iequals(*name, "STARTTLS");
}

/// A line of a list as the client may see it; nothing where it must not see it at all.
std::optional<std::string> edit_capability(const Line& line, bool external) {
  const auto end = line.raw.substr(line.text.size());
  auto rest = line.text;
  const auto name = take_string(rest);
  if (name && is_any_of(*name, {"STARTTLS", "XCLIENT", "XFORWARD"})) return std::nullopt;
  if (!name || !ascii::iequals(*name, "SASL")) return std::string(line.raw);
  const auto head = line.text.substr(0, line.text.size() - rest.size());
  rest = ascii::trim(rest);
  const auto mechanisms = take_string(rest);
  if (!mechanisms) return std::string(line.raw);
  const auto kept = filter_mechanisms(*mechanisms, external);
  if (!kept) return std::string(line.raw);
  return std::string(head) + ' ' + quoted_string(*kept) + std::string(end);
}

// ---------------------------------------------------------------- upstream

/// ManageSieve, client role: the server's list, STARTTLS, and the list that the server pushes once
/// TLS is up (RFC 5804 §2.2). Where the leg does not upgrade, the first list is the greeting.
///
/// A server that pushes none is asked. Its push may only have been slow, and then two lists come:
/// NOOP behind CAPABILITY tells where they end (RFC 5804 §2.13).
class SieveUpstream final : public LineUpstream {
 public:
  explicit SieveUpstream(const RoleSettings& settings)
      : LineUpstream(line_rules(settings.upstream, Errc::protocol).end,
                     upgrades(settings.upstream) ? Unsolicited::refuse : Unsolicited::allow),
        mode_(settings.upstream) {}

  [[nodiscard]] Result<Verdict> begin(std::string&) override { return Verdict::need_more; }

  [[nodiscard]] Result<Verdict> secured(std::string&) override {
    assert(state_ == State::tls);
    list_.clear();
    state_ = State::list;
    return Verdict::need_more;
  }

  [[nodiscard]] Result<Verdict> on_quiet(std::string& to_server) override {
    if (state_ == State::list && list_.empty()) {
      to_server += "CAPABILITY\r\nNOOP\r\n";
      state_ = State::asked;
    }
    return Verdict::need_more;
  }

  [[nodiscard]] std::string_view state() const noexcept override {
    return kStateNames[static_cast<std::size_t>(state_)];
  }

 private:
  enum class State : std::uint8_t { greeting, starttls, tls, list, asked, done };
  static constexpr std::string_view kStateNames[] = {"greeting",     "starttls", "tls",
                                                     "capabilities", "noop",     "done"};

  [[nodiscard]] Result<std::optional<Line>> frame(std::string_view input,
                                                  LineRules rules) const override {
    return next_whole_line(input, rules);
  }

  [[nodiscard]] Result<Verdict> on_line(const Line& line, std::string& to_server) override {
    const auto kind = kind_of(line);
    if (!kind) return fail(kind.error());
    switch (state_) {
      case State::greeting:
        return on_greeting(line, *kind, to_server);
      case State::starttls:
        return on_starttls(line, *kind);
      case State::list:
      case State::asked:
        return on_list(line, *kind);
      case State::tls:
      case State::done:
        break;
    }
    assert(false && "step() after the role has ended");
    return unasked(line);
  }

  Result<Verdict> on_greeting(const Line& line, ReplyKind kind, std::string& to_server) {
    list_ += line.raw;
    switch (kind) {
      case ReplyKind::capability:
        offered_ |= is_starttls(line);
        return Verdict::need_more;
      case ReplyKind::no:
      case ReplyKind::bye:
        if (!upgrades(mode_)) greeting_ = std::move(list_);
        return refused(line);
      case ReplyKind::ok:
        break;
    }
    if (!upgrades(mode_)) return greet();
    if (!offered_) {
      return stay_in_clear(
          {Errc::tls_not_offered, "server does not offer STARTTLS", peer_words(line.text)});
    }
    to_server += "STARTTLS\r\n";
    state_ = State::starttls;
    return Verdict::need_more;
  }

  /// True for OK only (N2).
  [[nodiscard]] static bool is_go_ahead(ReplyKind kind) noexcept { return kind == ReplyKind::ok; }

  Result<Verdict> on_starttls(const Line& line, ReplyKind kind) {
    if (kind == ReplyKind::capability) return unasked(line);
    if (is_go_ahead(kind)) {
      state_ = State::tls;
      return Verdict::start_tls;
    }
    Error refused{Errc::tls_refused, "server refused STARTTLS", peer_words(line.text)};
    return kind == ReplyKind::bye ? fail(std::move(refused)) : stay_in_clear(std::move(refused));
  }

  /// The first list is the client's greeting. A reply without one is the answer to NOOP.
  Result<Verdict> on_list(const Line& line, ReplyKind kind) {
    const bool list_before = !list_.empty();
    list_ += line.raw;
    if (kind == ReplyKind::capability) return Verdict::need_more;
    if (kind == ReplyKind::bye || (kind == ReplyKind::no && list_before)) return refused(line);
    if (list_before) {
      if (state_ == State::list) return greet();
      if (greeting_.empty()) greeting_ = list_;  // a second list says the same again
      list_.clear();
      return Verdict::need_more;
    }
    if (greeting_.empty()) {
      return fail(Errc::protocol, "server sent no capability list", peer_words(line.text));
    }
    state_ = State::done;
    return Verdict::greeted;
  }

  Result<Verdict> greet() {
    greeting_ = std::exchange(list_, {});
    state_ = State::done;
    return Verdict::greeted;
  }

  /// No TLS is to be had here: the end, but in mode `opportunistic`.
  Result<Verdict> stay_in_clear(Error why) {
    if (mode_ != TlsMode::opportunistic) return fail(std::move(why));
    fallback_reason_ = std::move(why.reason);
    return greet();
  }

  static tl::unexpected<Error> refused(const Line& line) {
    return fail(Errc::greeting_refused, "server says: " + ascii::printable(line.text),
                peer_words(line.text));
  }

  static tl::unexpected<Error> unasked(const Line& line) {
    return fail(Attack::unsolicited, "server sent a reply nobody asked for", peer_words(line.text));
  }

  TlsMode mode_;
  State state_ = State::greeting;
  bool offered_ = false;
  std::string list_;  ///< the list at hand, with the line that ends it
};

// ---------------------------------------------------------------- downstream

constexpr std::string_view kOwnList =
    "\"IMPLEMENTATION\" \"starttls-proxy\"\r\n"
    "\"SASL\" \"\"\r\n"
    "\"SIEVE\" \"\"\r\n"
    "\"STARTTLS\"\r\n"
    "\"VERSION\" \"1.0\"\r\n"
    "OK \"STARTTLS is required\"\r\n";

/// A command's verb; what follows it may be a string without a space before it.
std::string_view take_verb(std::string_view& rest) noexcept {
  const auto line = rest;
  const auto word = take_word(rest);
  const auto verb = word.substr(0, word.find_first_of("\"{("));
  rest = line.substr(static_cast<std::size_t>(verb.data() - line.data()) + verb.size());
  return verb;
}

/// A server that trusts our address would believe the client's words about itself (Dovecot).
bool speaks_for_another(std::string_view command) noexcept {
  return is_any_of(take_verb(command), {"XCLIENT", "XFORWARD"});
}

/// Does the line, whole or up to its first end, hold octets that are no line? Errs on the side of
/// yes.
bool may_hold_literal(std::string_view text) noexcept {
  return text.find('\n') != std::string_view::npos || ascii::trim(text).ends_with('}');
}

/// ManageSieve between both streams, until a command other than the few below commits.
///
/// Every command that goes to the server leaves a mark in a queue, one that we answer ourselves
/// leaves the answer: so replies keep the order of the commands, pipelined or not. Lists need no
/// mark: no other reply in sight has lines that begin with a string.
///
/// In mode `starttls` we answer everything ourselves until the client's TLS is up, and the server
/// is still at its start when that happens.
class SieveDownstream final : public DownstreamRole {
 public:
  explicit SieveDownstream(const RoleSettings& settings)
      : client_rules_(line_rules(settings.downstream, Errc::client_protocol)),
        server_rules_(line_rules(settings.upstream, Errc::protocol)),
        mode_(settings.downstream),
        external_(settings.client_certificate),
        secure_(settings.downstream == TlsMode::implicit) {}

  [[nodiscard]] Result<Verdict> begin(std::string_view greeting, std::string& to_client) override {
    state_ = State::commands;
    server_list_ = greeting;
    if (!local()) return push_list(to_client);
    to_client += kOwnList;
    return Verdict::need_more;
  }

  [[nodiscard]] Result<Step> from_client(std::string_view input, std::string& to_client,
                                         std::string& to_server) override;
  [[nodiscard]] Result<Step> from_server(std::string_view input, std::string& to_client) override;

  [[nodiscard]] Result<Verdict> secured(std::string& to_client) override {
    assert(state_ == State::starttls && settled());
    state_ = State::commands;
    secure_ = true;
    return push_list(to_client);
  }

  [[nodiscard]] std::string go_ahead() const override {
    return "OK \"Begin TLS negotiation now\"\r\n";
  }
  [[nodiscard]] std::string injection_reply() const override {
    return "NO \"STARTTLS must be the last command\"\r\n";
  }

  [[nodiscard]] std::string_view state() const noexcept override {
    return kStateNames[static_cast<std::size_t>(state_)];
  }

 private:
  /// All from `starttls` on read no more of the client.
  enum class State : std::uint8_t { greeting, commands, starttls, logout, committed, done };
  static constexpr std::string_view kStateNames[] = {"greeting", "commands",  "starttls",
                                                     "logout",   "committed", "done"};

  /// Commands go no further before TLS.
  [[nodiscard]] bool local() const noexcept { return mode_ == TlsMode::starttls && !secure_; }
  /// Is STARTTLS there for the client, now?
  [[nodiscard]] bool offers_starttls() const noexcept { return upgrades(mode_) && !secure_; }
  /// Has every command so far been answered, and nothing of an answer is still to come?
  [[nodiscard]] bool settled() const noexcept { return expected_.empty() && !inside_list_; }

  [[nodiscard]] Result<Verdict> push_list(std::string& to_client);
  [[nodiscard]] Result<> on_command(const Line& line, std::string& to_server);
  [[nodiscard]] Result<> on_local_command(const Line& line);
  [[nodiscard]] Result<> on_starttls(const Line& line, std::string_view arguments);
  [[nodiscard]] Result<> on_server_line(const Line& line, std::string& to_client);
  [[nodiscard]] Result<> pass(std::string_view command, std::string& to_server);
  [[nodiscard]] Result<> answer(std::string words);
  [[nodiscard]] Result<> refuse(std::string words);
  [[nodiscard]] bool asks_for_external(std::string_view command) const;
  [[nodiscard]] Result<std::optional<Line>> next_command(std::string_view input) const;
  void send_our_replies(std::string& to_client);

  LineRules client_rules_;
  LineRules server_rules_;
  TlsMode mode_;
  bool external_;  ///< EXTERNAL is neither offered nor taken
  bool secure_;    ///< the client's TLS is up
  State state_ = State::greeting;
  std::string server_list_;                          ///< as the upstream role heard it
  std::deque<std::optional<std::string>> expected_;  ///< our reply; nothing: the server's
  RefusalMeter refusals_;

  // The server's reply at hand.
  ReplyMeter meter_;
  bool inside_list_ = false;
};

/// The list as the client may see it, unasked: the greeting, and again behind its handshake.
Result<Verdict> SieveDownstream::push_list(std::string& to_client) {
  std::string_view rest = server_list_;
  while (!rest.empty()) {
    const auto line = next_whole_line(rest, server_rules_);
    if (!line) return fail(line.error());
    if (!line->has_value()) return fail(Errc::protocol, "server sent half a list");
    if (const auto sent = on_server_line(**line, to_client); !sent) return fail(sent.error());
    rest.remove_prefix((*line)->raw.size());
  }
  return Verdict::need_more;
}

/// Strings matter only to commands that we answer: of others the line is all that is looked at.
Result<std::optional<Line>> SieveDownstream::next_command(std::string_view input) const {
  if (local()) return next_whole_line(input, client_rules_);
  auto line = next_line(input, client_rules_);
  if (!line || !line->has_value()) return line;
  const auto& text = (*line)->text;
  if (!speaks_for_another(text) && !asks_for_external(text)) return line;
  return next_whole_line(input, client_rules_);
}

/// A mechanism that is not plainly another one counts as EXTERNAL: nobody sends its name as a
/// literal.
bool SieveDownstream::asks_for_external(std::string_view command) const {
  if (!external_ || !ascii::iequals(take_verb(command), "AUTHENTICATE")) return false;
  command = ascii::trim(command);
  if (!command.starts_with('"')) return true;
  const auto mechanism = take_string(command);
  return !mechanism || ascii::iequals(*mechanism, "EXTERNAL");
}

Result<Step> SieveDownstream::from_client(std::string_view input, std::string& to_client,
                                          std::string& to_server) {
  Step step;
  while (state_ == State::commands) {
    const auto line = next_command(input.substr(step.consumed));
    if (!line) return fail(line.error());
    if (!line->has_value()) return step;
    const auto done = local() ? on_local_command(**line) : on_command(**line, to_server);
    if (!done) return fail(done.error());
    if (state_ == State::committed) {
      step.verdict = Verdict::relay;
      return step;
    }
    step.consumed += (*line)->raw.size();
    send_our_replies(to_client);
    if (!settled()) continue;
    if (state_ == State::starttls) step.verdict = Verdict::start_tls;
    if (state_ == State::logout) step.verdict = Verdict::finish;
  }
  return step;
}

/// Passes it on, answers it, or commits.
Result<> SieveDownstream::on_command(const Line& line, std::string& to_server) {
  auto rest = line.text;
  const auto verb = take_verb(rest);
  if (ascii::iequals(verb, "STARTTLS")) return on_starttls(line, rest);
  if (speaks_for_another(line.text)) return refuse("NO \"Command not allowed\"\r\n");
  if (asks_for_external(line.text)) return refuse("NO \"Mechanism not available\"\r\n");
  auto words = line.text;
  const bool passes = is_any_of(take_word(words), {"CAPABILITY", "NOOP", "LOGOUT"});
  if (passes && !may_hold_literal(line.text)) return pass(line.raw, to_server);
  state_ = State::committed;
  return {};
}

/// The whole of the server that a client meets before TLS.
Result<> SieveDownstream::on_local_command(const Line& line) {
  auto rest = line.text;
  const auto verb = take_verb(rest);
  if (ascii::iequals(verb, "STARTTLS")) return on_starttls(line, rest);
  if (may_hold_literal(line.text)) return refuse("NO (ENCRYPT-NEEDED) \"Use STARTTLS first\"\r\n");
  if (ascii::iequals(verb, "CAPABILITY")) return answer(std::string(kOwnList));
  if (ascii::iequals(verb, "LOGOUT")) {
    state_ = State::logout;
    return answer("OK \"Logout completed\"\r\n");
  }
  if (!ascii::iequals(verb, "NOOP")) {
    return refuse("NO (ENCRYPT-NEEDED) \"Use STARTTLS first\"\r\n");
  }
  rest = ascii::trim(rest);
  if (rest.empty()) return answer("OK \"NOOP completed\"\r\n");
  const auto tag = take_string(rest);
  if (!tag || !rest.empty()) return refuse("NO \"NOOP takes one string\"\r\n");
  return answer("OK (TAG {" + std::to_string(tag->size()) + "}\r\n" + *tag + ") \"Done\"\r\n");
}

Result<> SieveDownstream::on_starttls(const Line& line, std::string_view arguments) {
  // What follows such a line is no command, and not ours to pass on.
  if (may_hold_literal(line.text)) {
    return fail(Errc::client_protocol, "client sent STARTTLS with a literal");
  }
  if (secure_) return refuse("NO \"TLS is already active\"\r\n");
  if (!offers_starttls()) return refuse("NO \"STARTTLS is not available\"\r\n");
  if (!ascii::trim(arguments).empty()) return refuse("NO \"STARTTLS takes no argument\"\r\n");
  state_ = State::starttls;
  return {};
}

Result<> SieveDownstream::pass(std::string_view command, std::string& to_server) {
  if (expected_.size() == kMaxUnanswered) {
    return fail(Errc::client_protocol, "too many commands at once");
  }
  expected_.emplace_back(std::nullopt);
  to_server += command;
  return {};
}

Result<> SieveDownstream::answer(std::string words) {
  if (expected_.size() == kMaxUnanswered) {
    return fail(Errc::client_protocol, "too many commands at once");
  }
  expected_.emplace_back(std::move(words));
  return {};
}

Result<> SieveDownstream::refuse(std::string words) {
  if (auto counted = refusals_.add(); !counted) return counted;
  return answer(std::move(words));
}

Result<Step> SieveDownstream::from_server(std::string_view input, std::string& to_client) {
  Step step;
  while (true) {
    if (settled() && state_ == State::starttls) {
      step.verdict = Verdict::start_tls;
      return step;
    }
    if (settled() && state_ == State::logout) {
      step.verdict = Verdict::finish;
      return step;
    }
    if (settled() && state_ == State::committed) {
      state_ = State::done;
      step.verdict = Verdict::relay;
      return step;
    }
    const auto line = next_whole_line(input.substr(step.consumed), server_rules_);
    if (!line) return fail(line.error());
    if (!line->has_value()) return step;
    if (const auto sent = on_server_line(**line, to_client); !sent) return fail(sent.error());
    step.consumed += (*line)->raw.size();
  }
}

Result<> SieveDownstream::on_server_line(const Line& line, std::string& to_client) {
  if (const auto size = meter_.add(line); !size) return fail(size.error());
  const auto kind = kind_of(line);
  if (!kind) return fail(kind.error());
  if (*kind == ReplyKind::capability) {
    inside_list_ = true;
    to_client += edit_capability(line, external_).value_or("");
    return {};
  }
  if (*kind == ReplyKind::no) {
    if (auto counted = refusals_.add(); !counted) return counted;
  }
  if (*kind == ReplyKind::ok && inside_list_ && offers_starttls()) to_client += "\"STARTTLS\"\r\n";
  to_client += line.raw;
  inside_list_ = false;
  meter_.reset();
  // Without a command it is the server's own word (BYE: it is closing).
  if (!expected_.empty()) expected_.pop_front();
  send_our_replies(to_client);
  return {};
}

/// Ours wait for the server's to all earlier commands, and never cut into one.
void SieveDownstream::send_our_replies(std::string& to_client) {
  if (inside_list_) return;
  while (!expected_.empty() && expected_.front()) {
    to_client += *expected_.front();
    expected_.pop_front();
  }
}

}  // namespace

std::unique_ptr<UpstreamRole> sieve_upstream(const RoleSettings& settings) {
  return std::make_unique<SieveUpstream>(settings);
}

std::unique_ptr<DownstreamRole> sieve_downstream(const RoleSettings& settings) {
  return std::make_unique<SieveDownstream>(settings);
}

}  // namespace starttls::proto
