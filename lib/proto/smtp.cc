#include "lib/proto/smtp.h"

#include <cassert>
#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "lib/base/ascii.h"
#include "lib/proto/edits.h"
#include "lib/proto/line_upstream.h"
#include "lib/proto/words.h"

namespace starttls::proto {
namespace {

/// Where LMTP differs from SMTP.
struct Dialect {
  std::string_view hello;    ///< RFC 2033 §4.1
  std::string_view service;  ///< what a greeting of our own calls itself
};
constexpr Dialect kSmtp{"EHLO", "ESMTP"};
constexpr Dialect kLmtp{"LHLO", "LMTP"};

/// A line with AUTH may carry a whole credential (RFC 4954 §4).
constexpr std::size_t kMaxAuthLine = 12288;

// ---------------------------------------------------------------- replies

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

/// The words of a reply in one line, for people: its code once, then the text of each line (D6).
class ReplyWords {
 public:
  void add(const Line& line, const ReplyLine& reply) {
    auto text = reply.text;
    if (reply.first) {
      words_ = line.text.substr(0, kCodeSize);
      auto rest = text;
      enhanced_code_ = take_word(rest);
    } else if (auto rest = text;
               is_enhanced_code(enhanced_code_) && take_word(rest) == enhanced_code_) {
      text = rest.substr(rest.empty() ? 0 : 1);  // each line repeats it (RFC 2034 §4)
    }
    if (words_.size() >= kMaxOwnLine || text.empty()) return;
    words_ += ' ';
    words_ += text.substr(0, kMaxOwnLine);
  }
  [[nodiscard]] std::string_view view() const noexcept { return words_; }

 private:
  static constexpr std::size_t kCodeSize = 3;
  static bool is_enhanced_code(std::string_view word) noexcept {
    return word.size() >= 5 && (word[0] == '4' || word[0] == '5') && word[1] == '.';
  }

  std::string words_;
  std::string enhanced_code_;  ///< the first word of the first line, a code or not
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
    words_.add(line, *reply);
    switch (state_) {
      case State::greeting:
        return on_greeting(line, *reply, to_server);
      case State::ehlo:
        return on_ehlo(line, *reply, to_server);
      case State::starttls:
        return on_starttls(*reply);
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
      greeting_ = reduced_greeting("220 ", reply.text, settings_, dialect_.service);
    }
    if (!reply.last) return Verdict::need_more;

    if (is_refusal(reply.code)) {
      return fail(Errc::greeting_refused, "server says: " + ascii::printable(words_.view()),
                  peer_words(words_.view()));
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
                  peer_words(words_.view())};
    return closes(reply.code) ? fail(std::move(refused)) : stay_in_clear(std::move(refused));
  }

  /// True for 220 only. No other 2xx is a yes to STARTTLS (N2).
  [[nodiscard]] static bool is_go_ahead(const ReplyLine& reply) noexcept {
    return reply.code == 220;
  }

  Result<Verdict> on_starttls(const ReplyLine& reply) {
    if (!reply.last) return Verdict::need_more;
    if (is_go_ahead(reply)) {
      state_ = State::tls;
      return Verdict::start_tls;
    }
    Error refused{Errc::tls_refused, "server refused STARTTLS", peer_words(words_.view())};
    return closes(reply.code) ? fail(std::move(refused)) : stay_in_clear(std::move(refused));
  }

  /// No TLS is to be had here: the end, but in mode `opportunistic`.
  Result<Verdict> stay_in_clear(Error why) {
    if (settings_.upstream != TlsMode::opportunistic) return fail(std::move(why));
    fallback_reason_ = std::move(why.reason);
    state_ = State::done;
    return Verdict::greeted;
  }

  RoleSettings settings_;
  Dialect dialect_;
  ReplyReader replies_;
  ReplyWords words_;
  State state_ = State::greeting;
  bool offered_ = false;
};

// ---------------------------------------------------------------- the EHLO list

/// What the proxy takes out of lists and refuses in commands, until the client commits.
struct Filter {
  bool requiretls;  ///< a leg is clear, and RFC 8689 wants TLS on every one
  bool external;    ///< our own certificate would speak for any client (RFC 4422 appendix A)
};

/// One line of the list as the client may see it; nothing where it must not see it at all.
std::optional<std::string> filter_extension(std::string_view text, const Filter& filter) {
  auto rest = text;
  const auto keyword = take_word(rest);
  if (is_any_of(keyword, {"STARTTLS", "XCLIENT", "XFORWARD"})) return std::nullopt;
  // Commands before the greeting (Exim): ours is not the server's, and it is not sent at once.
  if (is_any_of(keyword, {"PIPECONNECT", "PIPE_CONNECT", "X_PIPE_CONNECT"})) return std::nullopt;
  if (filter.requiretls && ascii::iequals(keyword, "REQUIRETLS")) return std::nullopt;

  // Exchange's TLS and login under names of its own (D10).
  if (is_any_of(keyword, {"X-ANONYMOUSTLS", "X-EXPS"})) return std::nullopt;

  // "AUTH=" is how servers repeat the list for clients older than RFC 2554.
  constexpr std::string_view kAuth = "AUTH";
  const bool legacy = ascii::istarts_with(keyword, "AUTH=");
  if (!legacy && !ascii::iequals(keyword, kAuth)) return std::string(text);
  const auto head_end = static_cast<std::size_t>(keyword.data() - text.data()) + kAuth.size() + 1;
  const auto head = text.substr(0, head_end);
  const auto mechanisms = filter_mechanisms(text.substr(head.size()), filter.external);
  if (!mechanisms) return std::string(text);
  if (mechanisms->empty()) return std::nullopt;
  return std::string(head) + *mechanisms;
}

/// A whole 250 reply to EHLO, lines as they came → the reply for the client, which is offered
/// STARTTLS by us or not at all.
std::string filter_list(std::string_view list, const Filter& filter, bool offer_starttls) {
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

  if (offer_starttls) entries.push_back({" STARTTLS", "\r\n"});

  std::string out;
  for (std::size_t i = 0; i < entries.size(); ++i) {
    auto& [text, end] = entries[i];
    const bool last = i + 1 == entries.size();
    if (text.empty() && !last) text = "-";
    if (!text.empty()) text.front() = last ? ' ' : '-';
    out += "250";
    out += text;
    out += end;
  }
  return out;
}

// ---------------------------------------------------------------- downstream

/// SMTP between both streams, until the client commits with AUTH, MAIL, BDAT or one of their kind.
///
/// Every command that goes to the server leaves an entry in a queue which says what its reply is; a
/// command that we answer ourselves leaves the answer. So replies keep the order of the commands,
/// pipelined or not (RFC 2920 §3.1).
///
/// In mode `starttls` we answer everything ourselves until the client's TLS is up, and the server
/// is still at its start when that happens.
class SmtpDownstream final : public DownstreamRole {
 public:
  explicit SmtpDownstream(const RoleSettings& settings)
      : client_rules_(line_rules(settings.downstream, Errc::client_protocol)),
        server_rules_(line_rules(settings.upstream, Errc::protocol)),
        settings_(settings),
        secure_(settings.downstream == TlsMode::implicit) {}

  [[nodiscard]] Result<Verdict> begin(std::string_view greeting, std::string& to_client) override {
    to_client += greeting;
    state_ = State::commands;
    return Verdict::need_more;
  }

  [[nodiscard]] Result<Step> from_client(std::string_view input, std::string& to_client,
                                         std::string& to_server) override;
  [[nodiscard]] Result<Step> from_server(std::string_view input, std::string& to_client) override;

  [[nodiscard]] Result<Verdict> secured(std::string&) override {
    assert(state_ == State::starttls && settled());
    state_ = State::commands;
    secure_ = true;
    hello_due_ = true;
    return Verdict::need_more;
  }

  [[nodiscard]] std::string go_ahead() const override { return "220 2.0.0 Ready to start TLS\r\n"; }
  [[nodiscard]] std::string injection_reply() const override {
    return "503 5.5.1 STARTTLS must be last\r\n";
  }

  [[nodiscard]] std::string_view state() const noexcept override {
    return kStateNames[static_cast<std::size_t>(state_)];
  }

 private:
  /// All from `starttls` on read no more of the client, and bring their verdict once the replies to
  /// its earlier commands have passed.
  enum class State : std::uint8_t { greeting, commands, starttls, quit, committed, done };
  static constexpr std::string_view kStateNames[] = {"greeting", "commands",  "starttls",
                                                     "quit",     "committed", "done"};

  /// What the next reply towards the client is.
  struct Expected {
    enum class Kind : std::uint8_t {
      pass,  ///< the server's, as it is
      list,  ///< the server's, edited where it is a list
      ours,
    };
    Kind kind;
    std::string words;  ///< `ours`: the reply
  };

  /// Our answer to a command that the server must not see.
  struct Answer {
    enum class Kind : std::uint8_t { refusal, reply, goodbye };
    std::string words;
    Kind kind = Kind::refusal;
  };

  /// True while commands go no further than us, because the client's TLS is not up (N15, N16).
  [[nodiscard]] bool local() const noexcept {
    return settings_.downstream == TlsMode::starttls && !secure_;
  }
  /// Is STARTTLS there for the client, now?
  [[nodiscard]] bool offers_starttls() const noexcept {
    return upgrades(settings_.downstream) && !secure_;
  }
  [[nodiscard]] Filter filter() const noexcept {
    return {.requiretls = !secure_ || settings_.upstream == TlsMode::none,
            .external = settings_.client_certificate};
  }
  /// Has every command so far been answered, and nothing of an answer is still to come?
  [[nodiscard]] bool settled() const noexcept {
    return expected_.empty() && !replies_.inside_reply();
  }

  [[nodiscard]] LineRules rules_for(std::string_view command) const noexcept;
  [[nodiscard]] bool must_say_hello(std::string_view verb) const noexcept;
  [[nodiscard]] std::optional<Answer> answer_to(std::string_view command) const;
  [[nodiscard]] Answer answer_before_tls(std::string_view verb) const;
  [[nodiscard]] Result<> on_command(const Line& line, std::string& to_server);
  [[nodiscard]] Result<> on_reply_line(const Line& line, std::string& to_client);
  void send_our_replies(std::string& to_client);

  LineRules client_rules_;
  LineRules server_rules_;
  RoleSettings settings_;
  State state_ = State::greeting;
  bool secure_;             ///< the client's TLS is up
  bool hello_due_ = false;  ///< TLS came up, and the client has not said EHLO since
  std::deque<Expected> expected_;
  RefusalMeter refusals_;

  // The server's reply at hand.
  ReplyReader replies_;
  ReplyMeter meter_;
  bool editing_ = false;
  std::string list_;  ///< while `editing_`: its lines so far
};

/// True for AUTH and for Exchange's name of it (D10).
bool logs_in(std::string_view verb) noexcept {
  return is_any_of(verb, {"AUTH", "X-EXPS"});
}

/// True if the relay starts with this command: a login, TLS of another name (Exchange), the three
/// old ways to begin a mail beside MAIL (RFC 821 §4.1.1, D11), and BDAT (RFC 3030), because the
/// bytes after it are no lines. Before MAIL the server refuses BDAT anyway.
bool commits(std::string_view verb) noexcept {
  return logs_in(verb) ||
         is_any_of(verb, {"MAIL", "SAML", "SEND", "SOML", "BDAT", "X-ANONYMOUSTLS"});
}

/// True if the reply says that the server does not take such a command. Other refusals, such as 550
/// for a VRFY, are answers to a good command (D12).
bool refuses_command(unsigned code) noexcept {
  return (code >= 500 && code <= 504) || code == 530;
}

bool asks_for_list(std::string_view verb) noexcept {
  return is_any_of(verb, {"EHLO", "LHLO"});
}

bool says_hello(std::string_view verb) noexcept {
  return asks_for_list(verb) || ascii::iequals(verb, "HELO");
}

/// A STARTTLS that the role conducts: it takes no argument (RFC 3207 §4).
bool is_starttls(std::string_view command) noexcept {
  return ascii::iequals(take_word(command), "STARTTLS") && take_word(command).empty();
}

LineRules SmtpDownstream::rules_for(std::string_view command) const noexcept {
  auto rules = client_rules_;
  // Not past where other lines are refused: the limit must not depend on how they are cut.
  command = command.substr(0, kMaxLine);
  if (logs_in(take_word(command))) rules.limit = kMaxAuthLine;
  return rules;
}

/// True if the client must say EHLO again before this command. Its first EHLO was in the clear,
/// where anyone could have said it, even if the server has heard it (S1).
bool SmtpDownstream::must_say_hello(std::string_view verb) const noexcept {
  return hello_due_ && commits(verb);
}

std::optional<SmtpDownstream::Answer> SmtpDownstream::answer_to(std::string_view command) const {
  auto rest = command;
  const auto verb = take_word(rest);
  if (ascii::iequals(verb, "STARTTLS")) {
    if (offers_starttls()) return Answer{"501 5.5.4 STARTTLS takes no argument\r\n"};
    return Answer{secure_ ? "503 5.5.1 TLS is already active\r\n"
                          : "502 5.5.1 STARTTLS is not available\r\n"};
  }
  if (local()) return answer_before_tls(verb);
  // A server that trusts our address would believe the client's words about itself.
  if (is_any_of(verb, {"XCLIENT", "XFORWARD"})) return Answer{"550 5.7.1 Command not allowed\r\n"};
  if (must_say_hello(verb)) return Answer{"503 5.5.1 Introduce yourself again after STARTTLS\r\n"};
  if (filter().external && logs_in(verb) && ascii::iequals(take_word(rest), "EXTERNAL")) {
    return Answer{"504 5.5.4 Mechanism not available\r\n"};
  }
  if (filter().requiretls && ascii::iequals(verb, "MAIL")) {
    // Any word, also one inside a quoted local part: nobody has such an address, and looking for
    // the path's end here where the server looks elsewhere would let the parameter slip through.
    for (auto word = take_word(rest); !word.empty(); word = take_word(rest)) {
      if (ascii::iequals(word.substr(0, word.find('=')), "REQUIRETLS")) {
        return Answer{"555 5.5.4 REQUIRETLS cannot be honoured here\r\n"};
      }
    }
  }
  return std::nullopt;
}

/// The whole of the server that a client meets before TLS (RFC 3207 §4).
SmtpDownstream::Answer SmtpDownstream::answer_before_tls(std::string_view verb) const {
  using Kind = Answer::Kind;
  const auto& hostname = settings_.hostname;
  if (asks_for_list(verb)) return {"250-" + hostname + "\r\n250 STARTTLS\r\n", Kind::reply};
  if (says_hello(verb)) return {"250 " + hostname + "\r\n", Kind::reply};
  if (is_any_of(verb, {"NOOP", "RSET"})) return {"250 2.0.0 OK\r\n", Kind::reply};
  if (ascii::iequals(verb, "HELP")) return {"214 2.0.0 Send STARTTLS\r\n", Kind::reply};
  if (ascii::iequals(verb, "QUIT")) return {"221 2.0.0 Bye\r\n", Kind::goodbye};
  return {"530 5.7.0 Must issue a STARTTLS command first\r\n"};
}

Result<Step> SmtpDownstream::from_client(std::string_view input, std::string& to_client,
                                         std::string& to_server) {
  Step step;
  while (state_ == State::commands) {
    const auto rest = input.substr(step.consumed);
    const auto line = next_line(rest, rules_for(rest));
    if (!line) return fail(line.error());
    if (!line->has_value()) return step;
    if (const auto done = on_command(**line, to_server); !done) return fail(done.error());
    if (state_ == State::committed) {
      step.verdict = Verdict::relay;
      return step;
    }
    step.consumed += (*line)->raw.size();
    send_our_replies(to_client);
    if (!settled()) continue;
    if (state_ == State::starttls) step.verdict = Verdict::start_tls;
    if (state_ == State::quit) step.verdict = Verdict::finish;
  }
  return step;
}

/// Passes it on, answers it, or ends the commands.
Result<> SmtpDownstream::on_command(const Line& line, std::string& to_server) {
  const auto [command, raw] = line;
  auto rest = command;
  const auto verb = take_word(rest);
  if (offers_starttls() && is_starttls(command)) {
    state_ = State::starttls;
    return {};
  }
  auto answer = answer_to(command);
  if (!answer && commits(verb)) {
    state_ = State::committed;
    return {};
  }
  if (expected_.size() == kMaxUnanswered) {
    return fail(Errc::client_protocol, "too many commands at once");
  }
  if (answer) {
    if (answer->kind == Answer::Kind::refusal) {
      if (auto counted = refusals_.add(); !counted) return counted;
    }
    if (answer->kind == Answer::Kind::goodbye) state_ = State::quit;
    expected_.push_back({Expected::Kind::ours, std::move(answer->words)});
    return {};
  }
  if (says_hello(verb)) hello_due_ = false;
  expected_.push_back({asks_for_list(verb) ? Expected::Kind::list : Expected::Kind::pass, {}});
  to_server += raw;
  return {};
}

Result<Step> SmtpDownstream::from_server(std::string_view input, std::string& to_client) {
  Step step;
  while (true) {
    if (settled()) {
      switch (state_) {
        case State::greeting:
        case State::commands:
        case State::done:
          break;
        case State::starttls:
          step.verdict = Verdict::start_tls;
          return step;
        case State::quit:
          step.verdict = Verdict::finish;
          return step;
        case State::committed:
          state_ = State::done;
          step.verdict = Verdict::relay;
          return step;
      }
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

  if (refuses_command(reply->code)) {
    if (auto counted = refusals_.add(); !counted) return counted;
  }
  meter_.reset();
  if (editing_) {
    to_client += filter_list(list_, filter(), offers_starttls());
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
  return std::make_unique<SmtpDownstream>(settings);
}

std::unique_ptr<DownstreamRole> lmtp_downstream(const RoleSettings& settings) {
  return smtp_downstream(settings);
}

}  // namespace starttls::proto
