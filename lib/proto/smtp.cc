#include "lib/proto/smtp.h"

#include <cassert>
#include <cstdint>
#include <deque>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "lib/base/ascii.h"
#include "lib/proto/line_negotiator.h"

namespace starttls::proto {
namespace {

/// Where LMTP differs from SMTP.
struct Dialect {
  std::string_view hello;    ///< RFC 2033 §4.1
  std::string_view service;  ///< what a greeting of our own calls itself
};
constexpr Dialect kSmtp{"EHLO", "ESMTP"};
constexpr Dialect kLmtp{"LHLO", "LMTP"};

/// Commands the server has not answered yet. A client that waits for replies has one, a pipelining
/// one a handful before it commits.
constexpr std::size_t kMaxUnanswered = 1000;
/// Commands that are refused, by us or by the server, before the session ends: nobody guesses here.
constexpr unsigned kMaxErrors = 20;

// ---------------------------------------------------------------- words and replies

/// Wider than RFC 5321's one space: Postfix takes any white space, also before the verb, and a
/// filter must not see fewer words than the server behind it.
constexpr bool separates(char c) noexcept {
  return static_cast<unsigned char>(c) <= ' ';
}

/// Cuts the first word off `rest`; empty where there is none left.
std::string_view take_word(std::string_view& rest) noexcept {
  while (!rest.empty() && separates(rest.front())) rest.remove_prefix(1);
  std::size_t size = 0;
  while (size < rest.size() && !separates(rest[size])) ++size;
  const auto word = rest.substr(0, size);
  rest.remove_prefix(size);
  return word;
}

bool is_any_of(std::string_view word, std::initializer_list<std::string_view> words) noexcept {
  for (const auto candidate : words) {
    if (ascii::iequals(word, candidate)) return true;
  }
  return false;
}

struct ReplyLine {
  unsigned code;
  bool first;
  bool last;
  std::string_view text;
};

constexpr bool is_refusal(unsigned code) noexcept {
  return code >= 400 && code <= 599;
}

/// After these the server is gone, and there is nothing to go on with in the clear.
constexpr bool closes(unsigned code) noexcept {
  return code == 221 || code == 421;
}

/// Tells lines of replies apart (RFC 5321 §4.2): three digits, then "-" on all but the last line;
/// the last may be the bare code. One reply has one code.
class ReplyReader {
 public:
  /// Errors: protocol.
  [[nodiscard]] Result<ReplyLine> add(const Line& line) {
    const auto code = ascii::parse_number(line.text.substr(0, 3));
    const char separator = line.text.size() > 3 ? line.text[3] : ' ';
    if (line.text.size() < 3 || !code || (separator != ' ' && separator != '-')) {
      return fail(Errc::protocol, "server sent no reply", peer_words(line.text));
    }
    const bool first = !code_.has_value();
    if (!first && *code_ != *code) {
      return fail(Errc::protocol, "server sent a reply of two codes", peer_words(line.text));
    }
    const bool last = separator == ' ';
    code_ = last ? std::nullopt : code;
    const auto text = line.text.size() > 3 ? line.text.substr(4) : std::string_view{};
    return ReplyLine{static_cast<unsigned>(*code), first, last, text};
  }

  [[nodiscard]] bool inside_reply() const noexcept { return code_.has_value(); }

 private:
  std::optional<std::uint64_t> code_;  ///< of the reply whose last line is still to come
};

// ---------------------------------------------------------------- upstream

/// SMTP, client role: from the server's greeting to the go-ahead (RFC 3207 §4). Where the leg does
/// not upgrade, only the greeting is awaited and handed on as it is.
class SmtpUpstream final : public LineUpstream {
 public:
  SmtpUpstream(const RoleSettings& settings, const Dialect& dialect)
      : LineUpstream(line_rules(settings.upstream, Errc::protocol).end,
                     upgrades(settings.upstream) ? Unsolicited::refuse : Unsolicited::allow),
        settings_(settings),
        dialect_(dialect) {}

  [[nodiscard]] Result<Verdict> begin(std::string&) override { return Verdict::need_more; }

  [[nodiscard]] Result<Verdict> secured(std::string&) override {
    assert(state_ == State::tls);
    state_ = State::done;
    // The server is back at its start and silent: the client's EHLO is the first command it sees.
    return Verdict::greeted;
  }

  [[nodiscard]] std::string_view state() const noexcept override {
    return kStateNames[static_cast<std::size_t>(state_)];
  }

 private:
  enum class State : std::uint8_t { greeting, ehlo, starttls, tls, done };
  static constexpr std::string_view kStateNames[] = {"greeting", "ehlo", "starttls", "tls", "done"};

  [[nodiscard]] Result<Verdict> on_line(const Line& line, std::string& to_server) override {
    const auto reply = replies_.add(line);
    if (!reply) return fail(reply.error());
    switch (state_) {
      case State::greeting:
        return on_greeting(line, *reply, to_server);
      case State::ehlo:
        return on_ehlo(line, *reply, to_server);
      case State::starttls:
        return on_starttls(line, *reply);
      case State::tls:
      case State::done:
        break;
    }
    assert(false && "step() after the role has ended");
    return fail(Errc::protocol, "server sent a reply nobody asked for", peer_words(line.text));
  }

  Result<Verdict> on_greeting(const Line& line, const ReplyLine& reply, std::string& to_server) {
    if (!upgrades(settings_.upstream)) {
      greeting_ += line.raw;
    } else if (reply.first && reply.code == 220) {
      greeting_ = greeting_for_client(reply.text);
    }
    if (!reply.last) return Verdict::need_more;

    if (is_refusal(reply.code)) {
      return fail(Errc::greeting_refused, "server says: " + ascii::printable(line.text),
                  peer_words(line.text));
    }
    if (reply.code != 220) {
      return fail(Errc::protocol, "server greeted with neither 220 nor a refusal",
                  peer_words(line.text));
    }
    if (!upgrades(settings_.upstream)) {
      state_ = State::done;
      return Verdict::greeted;
    }
    to_server += dialect_.hello;
    to_server += ' ';
    to_server += settings_.hostname;
    to_server += "\r\n";
    state_ = State::ehlo;
    return Verdict::need_more;
  }

  Result<Verdict> on_ehlo(const Line& line, const ReplyLine& reply, std::string& to_server) {
    // The first line is the server's name, whatever it looks like (RFC 5321 §4.1.1.1).
    if (reply.code == 250 && !reply.first) {
      auto rest = reply.text;
      offered_ |= ascii::iequals(take_word(rest), "STARTTLS");
    }
    if (!reply.last) return Verdict::need_more;
    if (offered_) {
      to_server += "STARTTLS\r\n";
      state_ = State::starttls;
      return Verdict::need_more;
    }
    if (reply.code == 250) {
      return stay_in_clear(
          {Errc::tls_not_offered, "server does not offer STARTTLS", peer_words(line.text)});
    }
    Error refused{Errc::tls_not_offered, "server refused " + std::string(dialect_.hello),
                  peer_words(line.text)};
    return closes(reply.code) ? fail(std::move(refused)) : stay_in_clear(std::move(refused));
  }

  Result<Verdict> on_starttls(const Line& line, const ReplyLine& reply) {
    if (!reply.last) return Verdict::need_more;
    if (reply.code == 220) {
      state_ = State::tls;
      return Verdict::start_tls;
    }
    Error refused{Errc::tls_refused, "server refused STARTTLS", peer_words(line.text)};
    return closes(reply.code) ? fail(std::move(refused)) : stay_in_clear(std::move(refused));
  }

  /// No TLS is to be had here: the end, but in mode `opportunistic`.
  Result<Verdict> stay_in_clear(Error why) {
    if (settings_.upstream != TlsMode::opportunistic) return fail(std::move(why));
    fallback_reason_ = std::move(why.reason);
    state_ = State::done;
    return Verdict::greeted;
  }

  /// One line under a status of our own: the text comes from a leg that anybody may have written
  /// on.
  [[nodiscard]] std::string greeting_for_client(std::string_view text) const {
    constexpr std::string_view kStatus = "220 ";
    constexpr std::string_view kEnd = "\r\n";
    std::string words;
    if (settings_.greeting_text) {
      words = ascii::printable(text, kMaxOwnLine - kStatus.size() - kEnd.size());
      words = ascii::trim(words);
    }
    if (words.empty()) words = settings_.hostname + ' ' + std::string(dialect_.service);
    return std::string(kStatus) + words + std::string(kEnd);
  }

  RoleSettings settings_;
  Dialect dialect_;
  ReplyReader replies_;
  State state_ = State::greeting;
  bool offered_ = false;
};

// ---------------------------------------------------------------- the EHLO list

/// What the proxy takes out of lists and refuses in commands, until the client commits.
struct Filter {
  bool requiretls;  ///< a leg is clear, and RFC 8689 wants TLS on every one
  bool external;    ///< our own certificate would speak for any client (RFC 4422 appendix A)
};

/// `list` without the mechanisms that cannot work through a proxy, nothing where none was among
/// them.
std::optional<std::string> filter_mechanisms(std::string_view list, const Filter& filter) {
  std::string kept;
  bool dropped = false;
  for (auto name = take_word(list); !name.empty(); name = take_word(list)) {
    // Channel binding ties the login to one TLS connection; here are two (RFC 5929, RFC 9266).
    const bool binds_channel = ascii::iends_with(name, "-PLUS");
    if (binds_channel || (filter.external && ascii::iequals(name, "EXTERNAL"))) {
      dropped = true;
      continue;
    }
    if (!kept.empty()) kept += ' ';
    kept += name;
  }
  if (!dropped) return std::nullopt;
  return kept;
}

/// One line of the list as the client may see it; nothing where it must not see it at all.
std::optional<std::string> filter_extension(std::string_view text, const Filter& filter) {
  auto rest = text;
  const auto keyword = take_word(rest);
  if (is_any_of(keyword, {"STARTTLS", "XCLIENT", "XFORWARD"})) return std::nullopt;
  // Commands before the greeting (Exim): ours is not the server's, and it is not sent at once.
  if (is_any_of(keyword, {"PIPECONNECT", "PIPE_CONNECT", "X_PIPE_CONNECT"})) return std::nullopt;
  if (filter.requiretls && ascii::iequals(keyword, "REQUIRETLS")) return std::nullopt;

  // "AUTH=" is how servers repeat the list for clients older than RFC 2554.
  constexpr std::string_view kAuth = "AUTH";
  const bool legacy = ascii::istarts_with(keyword, "AUTH=");
  if (!legacy && !ascii::iequals(keyword, kAuth)) return std::string(text);
  const auto head_end = static_cast<std::size_t>(keyword.data() - text.data()) + kAuth.size() + 1;
  const auto head = text.substr(0, head_end);
  const auto mechanisms = filter_mechanisms(text.substr(head.size()), filter);
  if (!mechanisms) return std::string(text);
  if (mechanisms->empty()) return std::nullopt;
  return std::string(head) + *mechanisms;
}

/// A whole 250 reply to EHLO, lines as they came → the reply for the client.
std::string filter_list(std::string_view list, const Filter& filter) {
  struct Entry {
    std::string text;
    std::string_view end;
  };
  constexpr std::size_t kCodeSize = 3;
  std::vector<Entry> entries;
  while (!list.empty()) {
    const auto raw = list.substr(0, list.find('\n') + 1);
    list.remove_prefix(raw.size());
    const auto end = raw.substr(raw.size() - (raw.ends_with("\r\n") ? 2 : 1));
    // With its separator, so that a bare code stays one.
    const auto tail = raw.substr(kCodeSize, raw.size() - kCodeSize - end.size());
    if (entries.empty()) {
      entries.push_back({std::string(tail), end});
    } else if (tail.empty()) {
      entries.push_back({"", end});
    } else if (const auto kept = filter_extension(tail.substr(1), filter)) {
      entries.push_back({tail.front() + *kept, end});
    }
  }

  std::string out;
  for (std::size_t i = 0; i < entries.size(); ++i) {
    auto& [text, end] = entries[i];
    const bool last = i + 1 == entries.size();
    if (!text.empty()) text.front() = last ? ' ' : '-';
    out += "250";
    out += text;
    out += end;
  }
  return out;
}

// ---------------------------------------------------------------- downstream

/// SMTP between both streams, until the client commits with AUTH, MAIL or BDAT.
///
/// Every command that goes to the server leaves an entry in a queue which says what its reply is; a
/// command that we answer ourselves leaves the answer. So replies keep the order of the commands,
/// pipelined or not (RFC 2920 §3.1).
class SmtpDownstream final : public DownstreamRole {
 public:
  explicit SmtpDownstream(const RoleSettings& settings)
      : client_rules_(line_rules(settings.downstream, Errc::client_protocol)),
        server_rules_(line_rules(settings.upstream, Errc::protocol)),
        downstream_(settings.downstream),
        filter_{.requiretls = settings.downstream == TlsMode::none ||
                              settings.downstream == TlsMode::opportunistic ||
                              settings.upstream == TlsMode::none,
                .external = settings.client_certificate} {}

  [[nodiscard]] Result<Verdict> begin(std::string_view greeting, std::string& to_client) override {
    to_client += greeting;
    state_ = State::commands;
    return Verdict::need_more;
  }

  [[nodiscard]] Result<Step> from_client(std::string_view input, std::string& to_client,
                                         std::string& to_server) override;
  [[nodiscard]] Result<Step> from_server(std::string_view input, std::string& to_client) override;

  [[nodiscard]] Result<Verdict> secured(std::string&) override {
    assert(false && "no downstream mode of this role asks for a handshake");
    return Verdict::need_more;
  }

  [[nodiscard]] std::string_view state() const noexcept override {
    return kStateNames[static_cast<std::size_t>(state_)];
  }

 private:
  enum class State : std::uint8_t { greeting, commands, committed, done };
  static constexpr std::string_view kStateNames[] = {"greeting", "commands", "committed", "done"};

  /// What the next reply towards the client is.
  struct Expected {
    enum class Kind : std::uint8_t {
      pass,  ///< the server's, as it is
      list,  ///< the server's, edited where it is a list
      ours,
    };
    Kind kind;
    std::string_view words;  ///< `ours`: the reply; a constant
  };

  [[nodiscard]] std::string_view refusal_of(std::string_view command) const noexcept;
  [[nodiscard]] Result<> on_reply_line(const Line& line, std::string& to_client);
  void send_our_replies(std::string& to_client);

  LineRules client_rules_;
  LineRules server_rules_;
  TlsMode downstream_;
  Filter filter_;
  State state_ = State::greeting;
  std::deque<Expected> expected_;
  unsigned errors_ = 0;

  // The server's reply at hand.
  ReplyReader replies_;
  ReplyMeter meter_;
  bool editing_ = false;
  std::string list_;  ///< while `editing_`: its lines so far
};

/// Does the relay start with this command? BDAT (RFC 3030) because the octets behind it are no
/// lines; before MAIL the server refuses it anyway.
bool commits(std::string_view command) noexcept {
  return is_any_of(take_word(command), {"AUTH", "MAIL", "BDAT"});
}

bool asks_for_list(std::string_view command) noexcept {
  return is_any_of(take_word(command), {"EHLO", "LHLO"});
}

/// Our answer to a command that the server must not see; empty for all others.
std::string_view SmtpDownstream::refusal_of(std::string_view command) const noexcept {
  const auto verb = take_word(command);
  if (ascii::iequals(verb, "STARTTLS")) {
    return downstream_ == TlsMode::implicit ? "503 5.5.1 TLS is already active\r\n"
                                            : "502 5.5.1 STARTTLS is not available\r\n";
  }
  // A server that trusts our address would believe the client's words about itself.
  if (is_any_of(verb, {"XCLIENT", "XFORWARD"})) return "550 5.7.1 Command not allowed\r\n";
  if (filter_.external && ascii::iequals(verb, "AUTH") &&
      ascii::iequals(take_word(command), "EXTERNAL")) {
    return "504 5.5.4 Mechanism not available\r\n";
  }
  if (filter_.requiretls && ascii::iequals(verb, "MAIL")) {
    // Any word, also one inside a quoted local part: nobody has such an address, and looking for
    // the path's end here where the server looks elsewhere would let the parameter slip through.
    for (auto word = take_word(command); !word.empty(); word = take_word(command)) {
      if (ascii::iequals(word.substr(0, word.find('=')), "REQUIRETLS")) {
        return "555 5.5.4 REQUIRETLS cannot be honoured here\r\n";
      }
    }
  }
  return {};
}

Result<Step> SmtpDownstream::from_client(std::string_view input, std::string& to_client,
                                         std::string& to_server) {
  assert(state_ == State::commands);
  Step step;
  while (true) {
    const auto line = next_line(input.substr(step.consumed), client_rules_);
    if (!line) return fail(line.error());
    if (!line->has_value()) return step;
    const auto [command, raw] = **line;

    const auto refusal = refusal_of(command);
    if (refusal.empty() && commits(command)) {
      state_ = State::committed;
      step.verdict = Verdict::relay;
      return step;
    }
    if (expected_.size() == kMaxUnanswered) {
      return fail(Errc::client_protocol, "too many commands at once");
    }
    if (refusal.empty()) {
      expected_.push_back(
          {asks_for_list(command) ? Expected::Kind::list : Expected::Kind::pass, {}});
      to_server += raw;
    } else {
      if (++errors_ == kMaxErrors) return fail(Errc::too_many_errors, "too many errors");
      expected_.push_back({Expected::Kind::ours, refusal});
      send_our_replies(to_client);
    }
    step.consumed += raw.size();
  }
}

Result<Step> SmtpDownstream::from_server(std::string_view input, std::string& to_client) {
  Step step;
  while (true) {
    if (state_ == State::committed && expected_.empty() && !replies_.inside_reply()) {
      state_ = State::done;
      step.verdict = Verdict::relay;
      return step;
    }
    const auto line = next_line(input.substr(step.consumed), server_rules_);
    if (!line) return fail(line.error());
    if (!line->has_value()) return step;
    if (const auto passed = on_reply_line(**line, to_client); !passed) return fail(passed.error());
    step.consumed += (*line)->raw.size();
  }
}

Result<> SmtpDownstream::on_reply_line(const Line& line, std::string& to_client) {
  if (const auto size = meter_.add(line); !size) return fail(size.error());
  const auto reply = replies_.add(line);
  if (!reply) return fail(reply.error());

  // Without a command it is the server's own word (421: it is closing), and passes.
  if (reply->first && !expected_.empty()) {
    editing_ = expected_.front().kind == Expected::Kind::list && reply->code == 250;
    expected_.pop_front();
  }
  (editing_ ? list_ : to_client) += line.raw;
  if (!reply->last) return {};

  if (reply->code >= 500 && ++errors_ == kMaxErrors) {
    return fail(Errc::too_many_errors, "too many errors");
  }
  meter_.reset();
  if (editing_) {
    to_client += filter_list(list_, filter_);
    list_ = {};
    editing_ = false;
  }
  send_our_replies(to_client);
  return {};
}

/// Ours wait for the server's to all earlier commands, and never cut into one.
void SmtpDownstream::send_our_replies(std::string& to_client) {
  if (replies_.inside_reply()) return;
  while (!expected_.empty() && expected_.front().kind == Expected::Kind::ours) {
    to_client += expected_.front().words;
    expected_.pop_front();
  }
}

}  // namespace

std::unique_ptr<UpstreamRole> smtp_upstream(const RoleSettings& settings) {
  return std::make_unique<SmtpUpstream>(settings, kSmtp);
}

std::unique_ptr<UpstreamRole> lmtp_upstream(const RoleSettings& settings) {
  return std::make_unique<SmtpUpstream>(settings, kLmtp);
}

std::unique_ptr<DownstreamRole> smtp_downstream(const RoleSettings& settings) {
  if (upgrades(settings.downstream)) return nullptr;
  return std::make_unique<SmtpDownstream>(settings);
}

std::unique_ptr<DownstreamRole> lmtp_downstream(const RoleSettings& settings) {
  return smtp_downstream(settings);
}

}  // namespace starttls::proto
