#include <cassert>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "lib/base/ascii.h"
#include "lib/proto/edits.h"
#include "lib/proto/last_reply.h"
#include "lib/proto/line_downstream.h"
#include "lib/proto/line_upstream.h"
#include "lib/proto/login/line_login.h"
#include "lib/proto/login/login_dialect.h"
#include "lib/proto/login/login_upstream.h"
#include "lib/proto/parts.h"
#include "lib/proto/smtp_replies.h"
#include "lib/proto/words.h"

namespace starttls::proto {
namespace {

using smtp::closes;
using smtp::is_refusal;
using smtp::ReplyLine;
using smtp::ReplyReader;
using smtp::ReplyWords;
using smtp::whole_refusal;

/// Returns the words for the client's login (RFC 4954 §4, §6).
constexpr LoginWords login_words(const LoginDialect& dialect) {
  return {.dialect = dialect,
          .challenge = "334 ",
          .challenge_end = "\r\n",
          .empty_challenge = "334 \r\n",
          .success = "235 2.7.0 Authentication successful\r\n",
          .refusal = "535 5.7.8 Authentication credentials invalid\r\n",
          .unavailable = "454 4.7.0 ",
          .text_end = "\r\n",
          .cancelled = "501 5.7.0 Authentication cancelled\r\n",
          .malformed = "501 5.5.2 Invalid authentication exchange\r\n",
          .hidden = "504 5.5.4 Mechanism not available\r\n",
          .required = "530 5.7.0 Authentication required\r\n"};
}
constexpr LoginWords kSmtpLogin = login_words(login::kSmtp);
constexpr LoginWords kLmtpLogin = login_words(login::kLmtp);

/// The differences between LMTP and SMTP.
struct Dialect {
  std::string_view hello;    ///< RFC 2033 §4.1
  std::string_view service;  ///< names the protocol in a greeting of our own
  const LoginWords& login;
};
constexpr Dialect kSmtp{"EHLO", "ESMTP", kSmtpLogin};
constexpr Dialect kLmtp{"LHLO", "LMTP", kLmtpLogin};

/// A line with AUTH may carry a whole credential (RFC 4954 §4).
constexpr std::size_t kMaxAuthLine = 12288;

// ---------------------------------------------------------------- upstream

/// SMTP, upstream role: from the server's greeting to the go-ahead (RFC 3207 §4). If the leg does
/// not upgrade, it waits for the greeting and passes it on unchanged.
class SmtpUpstream final : public LineUpstream {
 public:
  SmtpUpstream(const RoleSettings& settings, const Dialect& dialect)
      : LineUpstream(settings), settings_(settings), dialect_(dialect) {}

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
    return unasked(line.text);
  }

  void on_greeted() override { state_ = State::done; }

  Result<Verdict> on_greeting(const Line& line, const ReplyLine& reply, std::string& to_server) {
    const bool is_ours = upgrades() || (!settings_.greeting_text && reply.code == 220);
    if (!is_ours) {
      greeting_ += line.raw;
    } else if (reply.first && reply.code == 220) {
      greeting_ = reduced_greeting("220 ", reply.text, settings_, dialect_.service);
    }
    if (!reply.last) return Verdict::need_more;

    if (is_refusal(reply.code)) return refused_greeting(words_.view());
    if (reply.code != 220) {
      return fail(Errc::protocol, "server greeted with neither 220 nor a refusal",
                  peer_words(line.text));
    }
    if (!asks_for_tls()) return Verdict::greeted;
    to_server += dialect_.hello;
    to_server += ' ';
    to_server += settings_.hostname;
    to_server += "\r\n";
    state_ = State::ehlo;
    return Verdict::need_more;
  }

  Result<Verdict> on_ehlo(const Line& line, const ReplyLine& reply, std::string& to_server) {
    // The first line is the server's name, even if it looks like an extension (RFC 5321 §4.1.1.1).
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
    return stay_in_clear({Errc::tls_not_offered, "server refused " + std::string(dialect_.hello),
                          whole_refusal(words_.view())},
                         closes(reply.code));
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
    return stay_in_clear(
        {Errc::tls_refused, "server refused STARTTLS", whole_refusal(words_.view())},
        closes(reply.code));
  }

  RoleSettings settings_;
  Dialect dialect_;
  ReplyReader replies_;
  ReplyWords words_;
  State state_ = State::greeting;
  bool offered_ = false;
};

// ---------------------------------------------------------------- the EHLO list

/// Settings for what the proxy removes from lists and refuses in commands until the client commits.
struct Filter {
  bool requiretls;  ///< a leg is clear, and RFC 8689 demands TLS on every one
  bool external;    ///< our own certificate would speak for any client (RFC 4422 appendix A)
  LoginWhen login;  ///< if the proxy logs in, no login of the client passes
};

/// The mechanisms that the client may use if it logs in to the proxy.
constexpr std::string_view kOwnMechanisms = "AUTH PLAIN LOGIN";

/// True if the client must see none of the server's ways to log in, because the proxy logs in.
/// Among them are those that hide the password from it.
bool hides_logins(const Filter& filter) noexcept {
  return filter.login != LoginWhen::never;
}

/// True for AUTH and for Exchange's name of it (D10).
bool is_login(std::string_view verb) noexcept {
  return is_any_of(verb, {"AUTH", "X-EXPS"});
}

/// Returns a line of the list as the client may see it, or nothing if it must not see it.
std::optional<std::string> filter_extension(std::string_view text, const Filter& filter) {
  auto rest = text;
  const auto keyword = take_word(rest);
  if (is_any_of(keyword, {"STARTTLS", "XCLIENT", "XFORWARD"})) return std::nullopt;
  // Commands before the greeting (Exim): ours is not the server's, and it is not sent at once.
  if (is_any_of(keyword, {"PIPECONNECT", "PIPE_CONNECT", "X_PIPE_CONNECT"})) return std::nullopt;
  if (filter.requiretls && ascii::iequals(keyword, "REQUIRETLS")) return std::nullopt;

  // Exchange's name for STARTTLS (D10).
  if (ascii::iequals(keyword, "X-ANONYMOUSTLS")) return std::nullopt;

  // Some servers repeat the list as "AUTH=" for clients older than RFC 2554.
  const auto name = keyword.substr(0, keyword.find('='));
  if (!is_login(name)) return std::string(text);
  if (hides_logins(filter)) return std::nullopt;
  const auto head_end = static_cast<std::size_t>(name.data() - text.data()) + name.size() + 1;
  const auto head = text.substr(0, head_end);
  const auto mechanisms = filter_mechanisms(text.substr(head.size()), filter.external);
  if (!mechanisms) return std::string(text);
  if (mechanisms->empty()) return std::nullopt;
  return std::string(head) + *mechanisms;
}

/// Turns a whole 250 reply to EHLO, lines as they came, into the reply for the client. STARTTLS is
/// in it only if the proxy offers it.
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
    // The tail includes the separator, so that a bare code stays one.
    const auto tail = raw.substr(kCodeSize, raw.size() - kCodeSize - end.size());
    if (entries.empty()) {
      entries.push_back({std::string(tail), end});
    } else if (tail.empty()) {
      entries.push_back({"", end});
    } else if (const auto kept = filter_extension(tail.substr(1), filter)) {
      entries.push_back({tail.front() + *kept, end});
    }
  }

  if (filter.login == LoginWhen::client) {
    entries.push_back({' ' + std::string(kOwnMechanisms), "\r\n"});
  }
  // STARTTLS is second, and so never last except after a list of one line: some clients look for
  // "250-STARTTLS" (D8).
  if (offer_starttls) entries.insert(entries.begin() + 1, {" STARTTLS", "\r\n"});

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

constexpr StarttlsWords kSmtpStarttls{
    .command = "STARTTLS",
    .go_ahead = "220 2.0.0 Ready to start TLS\r\n",
    .injected = "503 5.5.1 STARTTLS must be last\r\n",
    .unavailable = "502 5.5.1 STARTTLS is not available\r\n",
    .already_active = "503 5.5.1 TLS is already active\r\n",
    .has_argument = "501 5.5.4 STARTTLS takes no argument\r\n",
};

/// True if the relay starts with this command: a login, TLS of another name (Exchange, D10), or
/// MAIL and the three old ways to begin a mail (RFC 821 §4.1.1, D11). BDAT is one, because the
/// bytes after it are no lines (RFC 3030). The others begin a delivery in the other direction.
bool commits(std::string_view verb) noexcept {
  return is_login(verb) || is_any_of(verb, {"MAIL", "SAML", "SEND", "SOML", "BDAT",
                                            "X-ANONYMOUSTLS", "TURN", "ETRN", "ATRN"});
}

bool asks_for_list(std::string_view verb) noexcept {
  return is_any_of(verb, {"EHLO", "LHLO"});
}

bool says_hello(std::string_view verb) noexcept {
  return asks_for_list(verb) || ascii::iequals(verb, "HELO");
}

/// Returns how many bytes of a message follow a refused command. They are not lines, and must not
/// be read as commands (RFC 3030 §2).
std::uint64_t bytes_after(const Command& command) noexcept {
  if (!ascii::iequals(command.verb, "BDAT")) return 0;
  auto rest = command.arguments;
  return ascii::parse_number(take_word(rest)).value_or(0);
}

/// Refuses a login of the client, because the proxy has logged in.
Action refuse_login(std::string_view verb) {
  if (ascii::iequals(verb, "AUTH")) {
    return {Action::Kind::refuse, "503 5.5.1 AUTH is not available\r\n"};
  }
  return {Action::Kind::refuse, "504 5.5.4 Mechanism not available\r\n"};
}

/// SMTP between both streams, until the client commits with AUTH, MAIL, BDAT or one of their kind.
class SmtpDownstream final : public LineDownstream {
  using Kind = Action::Kind;

 public:
  SmtpDownstream(const RoleSettings& settings, const Dialect& dialect)
      : LineDownstream(settings, kSmtpStarttls, dialect.login) {}

 private:
  [[nodiscard]] Action on_command(const Command& command) override;
  [[nodiscard]] Action on_command_before_tls(const Command& command) override;
  [[nodiscard]] Action on_command_before_login(const Command& command) override;
  [[nodiscard]] Action on_auth(std::string_view arguments);
  [[nodiscard]] Result<ReplyPart> on_reply_line(const Line& line, std::string& to_client) override;
  [[nodiscard]] Result<> on_secured(std::string&) override {
    hello_due_ = true;
    is_extended_ = false;
    return {};
  }
  void give_up_reply(std::string& to_client) override { to_client += std::exchange(list_, {}); }
  [[nodiscard]] LineRules rules_for(std::string_view input) const noexcept override;
  void read_offer();

  [[nodiscard]] bool must_say_hello(std::string_view verb) const noexcept;
  [[nodiscard]] bool asks_for_requiretls(const Command& command) const noexcept;
  [[nodiscard]] Filter filter() const noexcept {
    return {.requiretls = !is_secure() || settings().upstream == TlsMode::none,
            .external = settings().client_certificate,
            .login = settings().login};
  }

  bool hello_due_ = false;    ///< TLS came up, and the client has not said EHLO since
  bool is_extended_ = false;  ///< the client's last hello was EHLO or LHLO

  // The server's current reply.
  ReplyReader replies_;
  bool editing_ = false;
  std::string list_;  ///< while `editing_`: its lines so far
};

LineRules SmtpDownstream::rules_for(std::string_view input) const noexcept {
  auto rules = kClientRules;
  // Read only as far as other lines may go: the limit must not depend on how a line is cut.
  input = input.substr(0, kMaxLine);
  if (is_login(take_word(input))) rules.limit = kMaxAuthLine;
  return rules;
}

/// True if the client must say EHLO again before this command. Its first EHLO was in the clear, so
/// an attacker could have sent it, even if the server has heard it (S1).
bool SmtpDownstream::must_say_hello(std::string_view verb) const noexcept {
  return hello_due_ && commits(verb);
}

/// True for MAIL with REQUIRETLS as any word, also inside a quoted local part. No real address has
/// such a word. If the proxy and the server looked for the path's end in different ways, the
/// parameter could slip through. A line that is too long to be seen whole may have it.
bool SmtpDownstream::asks_for_requiretls(const Command& command) const noexcept {
  if (!ascii::iequals(command.verb, "MAIL")) return false;
  if (!command.is_whole) return true;
  auto rest = command.arguments;
  for (auto word = take_word(rest); !word.empty(); word = take_word(rest)) {
    if (ascii::iequals(word.substr(0, word.find('=')), "REQUIRETLS")) return true;
  }
  return false;
}

Action SmtpDownstream::on_command(const Command& command) {
  const auto verb = command.verb;
  // A server that trusts our address would believe the client's claims about itself.
  if (is_any_of(verb, {"XCLIENT", "XFORWARD"})) {
    return {Kind::refuse, "550 5.7.1 Command not allowed\r\n"};
  }
  if (must_say_hello(verb)) {
    return {.kind = Kind::refuse,
            .words = "503 5.5.1 Send EHLO again after STARTTLS\r\n",
            .skip = bytes_after(command)};
  }
  auto rest = command.arguments;
  if (settings().login == LoginWhen::connect && is_login(verb)) return refuse_login(verb);
  if (filter().external && is_login(verb) && ascii::iequals(take_word(rest), "EXTERNAL")) {
    return {Kind::refuse, "504 5.5.4 Mechanism not available\r\n"};
  }
  if (filter().requiretls && asks_for_requiretls(command)) {
    return {Kind::refuse, "555 5.5.4 REQUIRETLS is not supported here\r\n"};
  }
  if (commits(verb)) return {Kind::commit};
  if (says_hello(verb)) hello_due_ = false;
  return {asks_for_list(verb) ? Kind::edit : Kind::pass};
}

/// Passes only commands that need no login.
Action SmtpDownstream::on_command_before_login(const Command& command) {
  const auto verb = command.verb;
  if (ascii::iequals(verb, "AUTH")) return on_auth(command.arguments);
  if (is_login(verb)) return refuse_login(verb);
  if (says_hello(verb)) {
    hello_due_ = false;
    is_extended_ = asks_for_list(verb);
    return {.kind = is_extended_ ? Kind::edit : Kind::pass, .is_repeated = true};
  }
  if (is_any_of(verb, {"NOOP", "RSET", "HELP", "QUIT"})) return {Kind::pass};
  auto refusal = login()->refuse(login()->words().required);
  refusal.skip = bytes_after(command);
  return refusal;
}

/// Begins a login: "AUTH mechanism [initial response]" (RFC 4954 §4).
Action SmtpDownstream::on_auth(std::string_view arguments) {
  if (!is_extended_) return login()->refuse("503 5.5.1 Send EHLO first\r\n");
  const auto mechanism = take_word(arguments);
  const auto response = take_word(arguments);
  if (mechanism.empty() || !take_word(arguments).empty()) {
    return login()->refuse(login()->words().malformed);
  }
  return login()->start_sasl(mechanism, response.empty() ? std::nullopt : std::optional{response});
}

/// Answers in place of the server before TLS (RFC 3207 §4).
Action SmtpDownstream::on_command_before_tls(const Command& command) {
  const auto verb = command.verb;
  const auto& hostname = settings().hostname;
  if (asks_for_list(verb)) {
    return {Kind::answer, "250-" + hostname + "\r\n250-STARTTLS\r\n250 ENHANCEDSTATUSCODES\r\n"};
  }
  if (says_hello(verb)) return {Kind::answer, "250 " + hostname + "\r\n"};
  if (is_any_of(verb, {"NOOP", "RSET"})) return {Kind::answer, "250 2.0.0 OK\r\n"};
  if (ascii::iequals(verb, "HELP")) return {Kind::answer, "214 2.0.0 Send STARTTLS\r\n"};
  if (ascii::iequals(verb, "QUIT")) return {Kind::finish, "221 2.0.0 Bye\r\n"};
  return {Kind::refuse, "530 5.7.0 Must issue a STARTTLS command first\r\n"};
}

Result<LineDownstream::ReplyPart> SmtpDownstream::on_reply_line(const Line& line,
                                                                std::string& to_client) {
  const auto reply = replies_.add(line);
  if (!reply) return fail(reply.error());
  if (reply->first) editing_ = asked() == Kind::edit && reply->code == 250;
  (editing_ ? list_ : to_client) += line.raw;
  if (!reply->last) return ReplyPart::more;
  if (editing_) {
    read_offer();
    to_client += filter_list(list_, filter(), offers_starttls());
    list_.clear();
  }
  return refuses_command(reply->code) ? ReplyPart::refusal : ReplyPart::last;
}

/// Remembers the mechanisms of the server's list. Its first line is the server's name.
void SmtpDownstream::read_offer() {
  if (login() == nullptr) return;
  login()->begin_offer();
  auto rest = std::string_view(list_).substr(list_.find('\n') + 1);
  while (!rest.empty()) {
    const auto line = rest.substr(0, rest.find_first_of("\r\n"));
    constexpr std::size_t kCodeSize = 4;  // with the separator
    if (line.size() > kCodeSize) login()->read_offer(line.substr(kCodeSize));
    rest.remove_prefix(rest.find('\n') + 1);
  }
}

// Enhanced status codes: RFC 3463, RFC 5248. 4.4.1 no answer from host, 4.3.2 system not accepting
// messages, 4.7.0 security status, 4.7.5 cryptographic failure, 5.5.2 syntax error. All except the
// client's own errors are temporary, so an old mailer keeps its mail.
constexpr Parts::Words kSmtpWords{
    .unavailable = "421 4.4.1 ",
    .refused = "421 4.3.2 ",
    .policy = "421 4.7.0 ",
    .certificate = "421 4.7.5 ",
    .client_protocol = "500 5.5.2 ",
};

/// Returns the parts of the dialect. It is a template argument, so that a factory can name it.
template <const Dialect& kDialect>
Parts parts_of() {
  return {.words = kSmtpWords,
          .capabilities = {.command = kDialect.hello,
                           .says_hostname = true,
                           .goodbye = "QUIT",
                           .complete = is_whole_smtp_reply},
          .last_reply = last_smtp_reply,
          .login = &kDialect.login.dialect,
          .upstream = [](const RoleSettings& settings) -> std::unique_ptr<UpstreamRole> {
            auto role = std::make_unique<SmtpUpstream>(settings, kDialect);
            if (settings.login != LoginWhen::connect) return role;
            return std::make_unique<LoginUpstream>(std::move(role), settings,
                                                   kDialect.login.dialect);
          },
          .downstream = [](const RoleSettings& settings) -> std::unique_ptr<DownstreamRole> {
            return std::make_unique<SmtpDownstream>(settings, kDialect);
          }};
}

}  // namespace

Parts parts::smtp() {
  return parts_of<kSmtp>();
}

Parts parts::lmtp() {
  return parts_of<kLmtp>();
}

}  // namespace starttls::proto
