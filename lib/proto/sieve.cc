#include <cassert>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "lib/base/ascii.h"
#include "lib/proto/edits.h"
#include "lib/proto/line_downstream.h"
#include "lib/proto/line_upstream.h"
#include "lib/proto/login/line_login.h"
#include "lib/proto/login/login_dialect.h"
#include "lib/proto/parts.h"
#include "lib/proto/quoted.h"
#include "lib/proto/sieve_strings.h"
#include "lib/proto/words.h"

namespace starttls::proto {
namespace {

using sieve::next_whole_line;
using sieve::take_string;

// ---------------------------------------------------------------- replies

/// A reply is a list, which may be empty, and one of the other three (RFC 5804 §1.2).
enum class ReplyKind : std::uint8_t { capability, ok, no, bye };

/// Returns the kind of a reply line. Errors: protocol.
Result<ReplyKind> kind_of(const Line& line) {
  if (line.text.starts_with('"') || line.text.starts_with('{')) return ReplyKind::capability;
  const auto word = ascii::first_word(line.text);
  if (ascii::iequals(word, "OK")) return ReplyKind::ok;
  if (ascii::iequals(word, "NO")) return ReplyKind::no;
  if (ascii::iequals(word, "BYE")) return ReplyKind::bye;
  return fail(Errc::protocol, "server sent an invalid reply", peer_words(line.text));
}

bool is_starttls(const Line& capability) {
  auto rest = capability.text;
  const auto name = take_string(rest);
  return name && ascii::iequals(*name, "STARTTLS");
}

/// Returns a line of a list as the client may see it, or nothing if it must not see it.
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
  std::string out(head);
  out += ' ';
  append_quoted(out, *kept);
  return out.append(end);
}

// ---------------------------------------------------------------- upstream

/// ManageSieve, upstream role: the server's list, STARTTLS, and the list that the server pushes
/// once TLS is up (RFC 5804 §2.2). If the leg does not upgrade, the first list is the greeting.
///
/// If a server pushes none, the role asks for it. The push may only have been slow, and then two
/// lists come. The reply to a NOOP after CAPABILITY marks their end (RFC 5804 §2.13).
class SieveUpstream final : public LineUpstream {
 public:
  explicit SieveUpstream(const RoleSettings& settings) : LineUpstream(settings) {}

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
    return unasked(line.text);
  }

  /// Makes the first list the client's greeting.
  void on_greeted() override {
    if (greeting_.empty()) greeting_ = std::exchange(list_, {});
    state_ = State::done;
  }

  Result<Verdict> on_greeting(const Line& line, ReplyKind kind, std::string& to_server) {
    list_ += line.raw;
    switch (kind) {
      case ReplyKind::capability:
        offered_ |= is_starttls(line);
        return Verdict::need_more;
      case ReplyKind::no:
      case ReplyKind::bye:
        if (!upgrades()) greeting_ = std::move(list_);
        return refused_greeting(line.text);
      case ReplyKind::ok:
        break;
    }
    if (!asks_for_tls()) return Verdict::greeted;
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
    if (kind == ReplyKind::capability) return unasked(line.text);
    if (is_go_ahead(kind)) {
      state_ = State::tls;
      return Verdict::start_tls;
    }
    return stay_in_clear({Errc::tls_refused, "server refused STARTTLS", peer_words(line.text)},
                         kind == ReplyKind::bye);
  }

  /// Reads a line of the list after TLS. A reply without a list is the answer to NOOP.
  Result<Verdict> on_list(const Line& line, ReplyKind kind) {
    const bool list_before = !list_.empty();
    list_ += line.raw;
    if (kind == ReplyKind::capability) return Verdict::need_more;
    if (kind == ReplyKind::bye || (kind == ReplyKind::no && list_before)) {
      greeting_.clear();  // it may have the list that came before
      return refused_greeting(line.text);
    }
    if (list_before) {
      if (state_ == State::list) return Verdict::greeted;
      if (greeting_.empty()) greeting_ = list_;  // a second list repeats the first
      list_.clear();
      return Verdict::need_more;
    }
    if (greeting_.empty()) {
      return fail(Errc::protocol, "server sent no capability list", peer_words(line.text));
    }
    return Verdict::greeted;
  }

  State state_ = State::greeting;
  bool offered_ = false;
  std::string list_;  ///< the current list, with the line that ends it
};

// ---------------------------------------------------------------- downstream

constexpr std::string_view kOwnList =
    "\"IMPLEMENTATION\" \"starttls-proxy\"\r\n"
    "\"SASL\" \"\"\r\n"
    "\"SIEVE\" \"\"\r\n"
    "\"STARTTLS\"\r\n"
    "\"VERSION\" \"1.0\"\r\n"
    "OK \"STARTTLS is required\"\r\n";

/// Cuts the verb off a command. A string may follow it without a space.
std::string_view take_sieve_verb(std::string_view& rest) noexcept {
  const auto line = rest;
  const auto word = take_word(rest);
  const auto verb = word.substr(0, word.find_first_of("\"{("));
  rest = line.substr(static_cast<std::size_t>(verb.data() - line.data()) + verb.size());
  return verb;
}

/// True for a command by which a client claims to be another one. A server that trusts our address
/// would believe it (Dovecot).
bool speaks_for_another(std::string_view command) noexcept {
  return is_any_of(take_sieve_verb(command), {"XCLIENT", "XFORWARD"});
}

/// True if the line, whole or up to its first end, may contain bytes that are no line.
bool may_hold_literal(std::string_view text) noexcept {
  return text.find('\n') != std::string_view::npos || ascii::trim(text).ends_with('}');
}

constexpr StarttlsWords kSieveStarttls{
    .command = "STARTTLS",
    .go_ahead = "OK \"Begin TLS negotiation now\"\r\n",
    .injected = "NO \"STARTTLS must be the last command\"\r\n",
    .unavailable = "NO \"STARTTLS is not available\"\r\n",
    .already_active = "NO \"TLS is already active\"\r\n",
    .has_argument = "NO \"STARTTLS takes no argument\"\r\n",
};

/// Returns the list that came with the server's success, as a client may see it that has logged in.
/// Neither UNAUTHENTICATE nor EXTERNAL may bring it another account.
std::string list_after_login(std::string_view lines) {
  std::string list;
  while (!lines.empty()) {
    // They were read by the rules of the server's leg before.
    const auto line = next_whole_line(lines, line_rules(TlsMode::none, Errc::protocol));
    if (!line || !line->has_value()) break;
    lines.remove_prefix((*line)->raw.size());
    auto rest = (*line)->text;
    const auto name = take_string(rest);
    if (name && ascii::iequals(*name, "UNAUTHENTICATE")) continue;
    list += edit_capability(**line, true).value_or("");
  }
  return list;
}

/// The words for the client's login. All of them are lines with a string (RFC 5804 §1.2).
constexpr LoginWords kSieveLogin{
    .dialect = login::kSieve,
    .challenge = "\"",
    .challenge_end = "\"\r\n",
    .empty_challenge = "\"\"\r\n",
    .success = "OK \"Logged in\"\r\n",
    .refusal = "NO \"Authentication failed\"\r\n",
    .unavailable = "NO (TRYLATER) \"",
    .text_end = "\"\r\n",
    .cancelled = "NO \"Authentication cancelled\"\r\n",
    .malformed = "NO \"Invalid authentication exchange\"\r\n",
    .hidden = "NO \"Mechanism not available\"\r\n",
    .required = "NO \"Log in first\"\r\n",
    .edit_list = list_after_login,
};

constexpr std::string_view kOwnSasl = "\"SASL\" \"PLAIN LOGIN\"\r\n";

/// ManageSieve between both streams, until a command other than the few below commits. The server's
/// list is pushed to the client, unasked: as the greeting, and again after the client's handshake.
class SieveDownstream final : public LineDownstream {
  using Kind = Action::Kind;

 public:
  explicit SieveDownstream(const RoleSettings& settings)
      : LineDownstream(settings, kSieveStarttls, kSieveLogin) {}

 private:
  [[nodiscard]] Action on_command(const Command& command) override;
  [[nodiscard]] Action on_command_before_tls(const Command& command) override;
  [[nodiscard]] Action on_command_before_login(const Command& command) override;
  [[nodiscard]] Action on_authenticate(std::string_view arguments);
  [[nodiscard]] Result<ReplyPart> on_reply_line(const Line& line, std::string& to_client) override;
  void on_capability(const Line& line, std::string& to_client);
  [[nodiscard]] bool logs_in(std::string_view verb) const noexcept override {
    return ascii::iequals(verb, "AUTHENTICATE");
  }
  [[nodiscard]] Action on_response(std::string_view text) override;

  [[nodiscard]] Result<> greet(std::string_view greeting, std::string& to_client) override {
    server_list_ = greeting;
    if (!is_locked()) return pass_reply(server_list_, to_client);
    to_client += kOwnList;
    return {};
  }
  [[nodiscard]] Result<> on_secured(std::string& to_client) override {
    return pass_reply(server_list_, to_client);
  }
  [[nodiscard]] std::string_view take_verb(std::string_view& rest) const noexcept override {
    return take_sieve_verb(rest);
  }
  [[nodiscard]] Result<std::optional<Line>> next_command(std::string_view input) const override;
  [[nodiscard]] Result<std::optional<Line>> next_reply_line(std::string_view input,
                                                            LineRules rules) const override {
    return next_whole_line(input, rules);
  }

  [[nodiscard]] bool asks_for_external(std::string_view command) const;

  std::string server_list_;  ///< as the upstream role heard it
};

/// Returns the first command. It includes the strings of a line only for commands that the proxy
/// answers. For other commands, only the line is read.
Result<std::optional<Line>> SieveDownstream::next_command(std::string_view input) const {
  if (login() != nullptr && login()->awaits_response()) return next_whole_line(input, rules(input));
  const bool is_answered = is_locked() || login() != nullptr;
  auto line = is_answered ? next_whole_line(input, rules(input)) : next_line(input, kClientRules);
  if (!line || !line->has_value()) return line;
  auto rest = (*line)->text;
  if (ascii::iequals(take_sieve_verb(rest), kSieveStarttls.command) &&
      may_hold_literal((*line)->text)) {
    // The bytes after such a line are no command, and not for the server.
    return fail(Errc::client_protocol, "client sent STARTTLS with a literal");
  }
  if (is_answered) return line;
  if (!speaks_for_another((*line)->text) && !asks_for_external((*line)->text)) return line;
  return next_whole_line(input, kClientRules);
}

/// True for EXTERNAL, and for a mechanism that is not plainly another one: no client sends its name
/// as a literal.
bool SieveDownstream::asks_for_external(std::string_view command) const {
  if (!settings().client_certificate) return false;
  if (!ascii::iequals(take_sieve_verb(command), "AUTHENTICATE")) return false;
  command = ascii::trim(command);
  if (!command.starts_with('"')) return true;
  const auto mechanism = take_string(command);
  return !mechanism || ascii::iequals(*mechanism, "EXTERNAL");
}

Action SieveDownstream::on_command(const Command& command) {
  if (speaks_for_another(command.text)) return {Kind::refuse, "NO \"Command not allowed\"\r\n"};
  if (asks_for_external(command.text)) {
    return {Kind::refuse, "NO \"Mechanism not available\"\r\n"};
  }
  auto rest = command.text;
  const bool passes = is_any_of(take_word(rest), {"CAPABILITY", "NOOP", "LOGOUT"});
  return {passes && !may_hold_literal(command.text) ? Kind::pass : Kind::commit};
}

/// Passes only commands that need no login.
Action SieveDownstream::on_command_before_login(const Command& command) {
  if (ascii::iequals(command.verb, "AUTHENTICATE")) return on_authenticate(command.arguments);
  auto rest = command.text;
  const bool passes = is_any_of(take_word(rest), {"CAPABILITY", "NOOP", "LOGOUT"});
  if (passes && !may_hold_literal(command.text)) return {Kind::pass};
  return login()->refuse(login()->words().required);
}

/// Begins a login: a mechanism and maybe an initial response, both strings (RFC 5804 §2.1).
Action SieveDownstream::on_authenticate(std::string_view arguments) {
  arguments = ascii::trim(arguments);
  const auto mechanism = take_string(arguments);
  arguments = ascii::trim(arguments);
  std::optional<std::string> response;
  if (mechanism && !arguments.empty()) response = take_string(arguments);
  if (!mechanism || !ascii::trim(arguments).empty()) {
    if (response) wipe(*response);
    return login()->refuse(login()->words().malformed);
  }
  auto action = login()->start_sasl(
      *mechanism, response ? std::optional<std::string_view>{*response} : std::nullopt);
  if (response) wipe(*response);
  return action;
}

/// Reads a response of SASL, which is a string.
Action SieveDownstream::on_response(std::string_view text) {
  auto response = take_string(text);
  const bool is_whole = ascii::trim(text).empty();
  auto action = login()->on_response(
      response && is_whole ? std::optional<std::string_view>{*response} : std::nullopt);
  if (response) wipe(*response);
  return action;
}

/// Answers in place of the server before TLS.
Action SieveDownstream::on_command_before_tls(const Command& command) {
  const auto verb = command.verb;
  Action refusal{Kind::refuse, "NO (ENCRYPT-NEEDED) \"Use STARTTLS first\"\r\n"};
  if (may_hold_literal(command.text)) return refusal;
  if (ascii::iequals(verb, "CAPABILITY")) return {Kind::answer, std::string(kOwnList)};
  if (ascii::iequals(verb, "LOGOUT")) return {Kind::finish, "OK \"Logout completed\"\r\n"};
  if (!ascii::iequals(verb, "NOOP")) return refusal;
  auto rest = ascii::trim(command.arguments);
  if (rest.empty()) return {Kind::answer, "OK \"NOOP completed\"\r\n"};
  const auto tag = take_string(rest);
  if (!tag || !rest.empty()) return {Kind::refuse, "NO \"NOOP takes one string\"\r\n"};
  return {Kind::answer,
          "OK (TAG {" + std::to_string(tag->size()) + "}\r\n" + *tag + ") \"Done\"\r\n"};
}

/// Reads a line of a reply. A list is recognised without its command: no other reply has lines that
/// begin with a string.
Result<LineDownstream::ReplyPart> SieveDownstream::on_reply_line(const Line& line,
                                                                 std::string& to_client) {
  const auto kind = kind_of(line);
  if (!kind) return fail(kind.error());
  if (*kind == ReplyKind::capability) {
    on_capability(line, to_client);
    return ReplyPart::more;
  }
  if (*kind == ReplyKind::ok && inside_reply() && login() != nullptr) to_client += kOwnSasl;
  if (*kind == ReplyKind::ok && inside_reply() && offers_starttls()) {
    to_client += "\"STARTTLS\"\r\n";
  }
  to_client += line.raw;
  return *kind == ReplyKind::no ? ReplyPart::refusal : ReplyPart::last;
}

/// Passes a line of a list. If the client logs in to the proxy, the list ends with our mechanisms.
void SieveDownstream::on_capability(const Line& line, std::string& to_client) {
  if (login() != nullptr) {
    if (!inside_reply()) login()->begin_offer();
    login()->read_offer(line.text);
    auto rest = line.text;
    const auto name = take_string(rest);
    if (name && is_any_of(*name, {"SASL", "UNAUTHENTICATE"})) return;
  }
  to_client += edit_capability(line, settings().client_certificate).value_or("");
}

// RFC 5804 §1.2.1 and §1.3: BYE ends the session, TRYLATER means that it is no fault of the user's.
constexpr std::string_view kSieveFailure = "BYE (TRYLATER) \"";
constexpr Parts::Words kSieveWords{
    .unavailable = kSieveFailure,
    .refused = kSieveFailure,
    .policy = kSieveFailure,
    .certificate = kSieveFailure,
    .client_protocol = "NO \"",
    .suffix = "\"",
};

}  // namespace

Parts parts::sieve() {
  return {.words = kSieveWords,
          .capabilities = {.command = "", .goodbye = "LOGOUT"},
          .login = &login::kSieve,
          .upstream = make_role<UpstreamRole, SieveUpstream>,
          .downstream = make_role<DownstreamRole, SieveDownstream>};
}

}  // namespace starttls::proto
