#include <algorithm>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "lib/base/ascii.h"
#include "tools/mail_server/arguments.h"
#include "tools/mail_server/line_protocol.h"
#include "tools/mail_server/literal_protocol.h"
#include "tools/mail_server/sasl.h"

namespace starttls::bench {
namespace {

/// The items that FETCH knows, as bits of a set.
enum Item : unsigned { kUid = 1, kFlags = 2, kSize = 4, kBody = 8, kRfc822 = 16 };

struct ItemName {
  std::string_view name;
  unsigned item;
};

constexpr ItemName kItems[] = {
    {"UID", kUid},     {"FLAGS", kFlags},      {"RFC822.SIZE", kSize},
    {"BODY[]", kBody}, {"BODY.PEEK[]", kBody}, {"RFC822", kRfc822},
};

/// IMAP4rev1 (RFC 3501) with one mailbox, INBOX. It has the messages of the store, and is empty if
/// the store keeps none.
class Imap final : public LiteralProtocol {
 public:
  Imap(Tls tls, const Mailbox& mailbox) noexcept : tls_(tls), mailbox_(mailbox) {}

  void greet(std::string& reply) override {
    reply += "* OK [CAPABILITY " + capabilities() + "] backend.test\r\n";
  }
  void secured(std::string&) override {
    tls_ = Tls::active;
    authenticated_ = false;
    selected_.reset();
  }
  void refuse_injection(std::string& reply) const override {
    reply += tag_ + " BAD data behind STARTTLS\r\n* BYE data behind STARTTLS\r\n";
  }

 private:
  using Arguments = std::vector<std::string>;
  enum class State : std::uint8_t { any, authenticated, selected };
  struct Command {
    std::string_view verb;
    Step (Imap::*handler)(const Arguments& arguments, std::string& reply);
    State state;      ///< needed
    bool before_tls;  ///< possible while required TLS is not active yet
  };
  static const Command kCommands[];

  Step on_command(std::string_view command, std::string& reply) override;

  Verdict on_literal(std::string_view command, Literal literal, std::string& reply) override {
    if (tls_ == Tls::required || idling_ || sasl_) {
      reply += "* BYE no literal here\r\n";
      return Verdict::close;
    }
    const auto tag = ascii::first_word(command);
    const auto rest = ascii::after_first_word(command);
    if (!ascii::iequals(ascii::first_word(rest), "APPEND")) return Verdict::take;
    if (authenticated_ && is_inbox(rest)) {
      take_message(mailbox_.begin());
      return Verdict::take;
    }
    if (!literal.waits) {
      reply += "* BYE log in, and append to INBOX\r\n";
      return Verdict::close;
    }
    reply.append(tag) +=
        authenticated_ ? " NO [TRYCREATE] there is only INBOX\r\n" : " NO log in first\r\n";
    return Verdict::refuse;
  }

  void on_long_line(std::string& reply) override { reply += "* BYE line too long\r\n"; }

  Step capability(const Arguments&, std::string& reply) {
    reply += "* CAPABILITY " + capabilities() + "\r\n";
    return ok(reply, "done");
  }
  Step noop(const Arguments&, std::string& reply) {
    if (selected_) look_for_new(reply);
    return ok(reply, "done");
  }
  Step id(const Arguments&, std::string& reply) {
    reply += "* ID (\"name\" \"backend\")\r\n";
    return ok(reply, "done");
  }
  Step logout(const Arguments&, std::string& reply) {
    reply += "* BYE bye\r\n";
    ok(reply, "done");
    return {0, Want::close};
  }

  Step starttls(const Arguments& arguments, std::string& reply) {
    if (!offers_tls(tls_) || authenticated_) return bad(reply, "no STARTTLS here");
    if (!arguments.empty()) return bad(reply, "no arguments allowed");
    ok(reply, "go ahead");
    return {0, Want::start_tls};
  }

  Step login(const Arguments& arguments, std::string& reply) {
    if (authenticated_) return bad(reply, "logged in already");
    if (arguments.size() != 2) return bad(reply, "LOGIN user password");
    return welcome(reply);
  }
  Step authenticate(const Arguments& arguments, std::string& reply) {
    if (authenticated_) return bad(reply, "logged in already");
    if (arguments.empty() || arguments.size() > 2) return bad(reply, "AUTHENTICATE mechanism");
    sasl_ = Sasl::begin(arguments[0], arguments.size() == 2);
    if (!sasl_) return no(reply, "PLAIN or LOGIN");
    return go_on(reply);
  }
  Step go_on(std::string& reply) {
    if (!sasl_->finished()) {
      reply += fmt::format("+ {}\r\n", sasl_->challenge());
      return {};
    }
    sasl_.reset();
    return welcome(reply);
  }
  Step welcome(std::string& reply) {
    authenticated_ = true;
    return ok(reply, "[CAPABILITY " + capabilities() + "] welcome");
  }

  Step list(const Arguments& arguments, std::string& reply) {
    if (arguments.size() != 2) return bad(reply, "LIST reference mailbox");
    // An empty name asks for the separator (RFC 3501 §6.3.8).
    reply += arguments[1].empty() ? "* LIST (\\Noselect) \"/\" \"\"\r\n"
                                  : "* LIST (\\HasNoChildren) \"/\" INBOX\r\n";
    return ok(reply, "done");
  }

  Step select(const Arguments& arguments, std::string& reply) {
    selected_.reset();
    if (arguments.size() != 1 || !ascii::iequals(arguments[0], "INBOX")) {
      return no(reply, "[NONEXISTENT] there is only INBOX");
    }
    selected_ = mailbox_.messages();
    const auto next = selected_->empty() ? 1 : Mailbox::number(selected_->back()) + 1;
    reply += fmt::format(
        "* {} EXISTS\r\n* 0 RECENT\r\n* FLAGS ()\r\n* OK [PERMANENTFLAGS ()] none\r\n"
        "* OK [UIDVALIDITY 1] fixed\r\n* OK [UIDNEXT {}] next\r\n",
        selected_->size(), next);
    return ok(reply, "[READ-ONLY] done");
  }
  Step unselect(const Arguments&, std::string& reply) {
    selected_.reset();
    return ok(reply, "done");
  }

  /// Stores a message. `arguments`: mailbox, perhaps flags and a date, and "" for the message.
  Step append(const Arguments& arguments, std::string& reply) {
    const auto message = taken_message();
    if (!message || arguments.size() < 2 || !arguments.back().empty()) {
      return bad(reply, "APPEND INBOX {bytes}");
    }
    const auto stored = message->commit();
    if (!stored) return no(reply, stored.error().reason);
    if (selected_) look_for_new(reply);
    return ok(reply, *stored);
  }

  /// Adds new messages and removes none. A message that another session has removed keeps its
  /// place, and cannot be fetched.
  void look_for_new(std::string& reply) {
    const auto last = selected_->empty() ? 0 : Mailbox::number(selected_->back());
    const std::size_t before = selected_->size();
    for (auto& message : mailbox_.messages()) {
      if (Mailbox::number(message) > last) selected_->push_back(std::move(message));
    }
    if (selected_->size() > before) reply += fmt::format("* {} EXISTS\r\n", selected_->size());
  }

  Step fetch(const Arguments& arguments, std::string& reply) {
    return fetch_by(Numbers::sequence, arguments, reply);
  }
  Step uid(const Arguments& arguments, std::string& reply) {
    if (arguments.empty() || !ascii::iequals(arguments[0], "FETCH")) {
      return bad(reply, "only UID FETCH");
    }
    return fetch_by(Numbers::uid, {arguments.begin() + 1, arguments.end()}, reply);
  }

  enum class Numbers : std::uint8_t { sequence, uid };

  Step fetch_by(Numbers numbers, const Arguments& arguments, std::string& reply) {
    const auto items = arguments.size() == 2 ? parse_items(arguments[1]) : std::nullopt;
    if (!items) return bad(reply, "FETCH set (UID FLAGS RFC822.SIZE BODY[])");
    const auto wanted = *items | (numbers == Numbers::uid ? unsigned{kUid} : 0U);
    const auto& messages = *selected_;
    for (std::size_t i = 0; i < messages.size(); ++i) {
      const auto uid = Mailbox::number(messages[i]);
      const auto last = numbers == Numbers::uid ? Mailbox::number(messages.back())
                                                : std::uint64_t{messages.size()};
      const auto inside =
          contains(arguments[0], numbers == Numbers::uid ? uid : std::uint64_t{i + 1}, last);
      if (!inside) return bad(reply, "not a set of numbers");
      if (!*inside) continue;
      if (!append_message(i, wanted, reply)) return no(reply, "[EXPUNGEISSUED] it is gone");
    }
    return ok(reply, "done");
  }

  bool append_message(std::size_t index, unsigned items, std::string& reply) {
    const Mailbox::File& message = (*selected_)[index];
    reply += fmt::format("* {} FETCH (", index + 1);
    // Items are joined by spaces: each begins with one, and the first loses it below.
    std::string list;
    if ((items & kUid) != 0) list += fmt::format(" UID {}", Mailbox::number(message));
    if ((items & kFlags) != 0) list += " FLAGS ()";
    if ((items & kSize) != 0) list += fmt::format(" RFC822.SIZE {}", message.bytes);
    for (const auto& [item, name] : {std::pair{kBody, "BODY[]"}, std::pair{kRfc822, "RFC822"}}) {
      if ((items & item) == 0) continue;
      const auto content = mailbox_.read(message.name);
      if (!content) return false;
      list += fmt::format(" {} {{{}}}\r\n", name, content->size()) += *content;
    }
    reply.append(list, 1) += ")\r\n";
    return true;
  }

  static std::optional<unsigned> parse_items(std::string_view text) {
    if (text.starts_with('(') && text.ends_with(')')) text = text.substr(1, text.size() - 2);
    unsigned items = 0;
    for (; !text.empty(); text = ascii::after_first_word(text)) {
      const auto word = ascii::first_word(text);
      const auto* const found =
          std::find_if(std::begin(kItems), std::end(kItems),
                       [word](const ItemName& each) { return ascii::iequals(each.name, word); });
      if (found == std::end(kItems)) return std::nullopt;
      items |= found->item;
    }
    if (items == 0) return std::nullopt;
    return items;
  }

  /// True if a set like `1,3:5,7:*` has `number`. Nothing if the text is not a set.
  static std::optional<bool> contains(std::string_view set, std::uint64_t number,
                                      std::uint64_t last) {
    const auto parse = [last](std::string_view text) {
      return text == "*" ? std::optional{last} : ascii::parse_number(text);
    };
    bool found = false;
    for (;;) {
      const auto comma = set.find(',');
      const auto range = set.substr(0, comma);
      const auto colon = range.find(':');
      const auto from = parse(range.substr(0, colon));
      const auto to = colon == std::string_view::npos ? from : parse(range.substr(colon + 1));
      if (!from || !to) return std::nullopt;
      // The two ends may be in any order (RFC 3501 §9, seq-range).
      found = found || (number >= std::min(*from, *to) && number <= std::max(*from, *to));
      if (comma == std::string_view::npos) return found;
      set.remove_prefix(comma + 1);
    }
  }

  Step idle(const Arguments&, std::string& reply) {
    idling_ = true;
    reply += "+ idling\r\n";
    return {};
  }

  Step xsend(const Arguments& arguments, std::string& reply) {
    const auto bytes = arguments.size() == 1 ? ascii::parse_number(arguments[0]) : std::nullopt;
    if (!bytes) return bad(reply, "XSEND bytes");
    ok(reply, fmt::format("{} bytes follow", *bytes));
    return {0, Want::send_pattern, *bytes};
  }

  [[nodiscard]] std::string capabilities() const {
    if (tls_ == Tls::required) return "IMAP4rev1 ID STARTTLS LOGINDISABLED";
    std::string list = "IMAP4rev1 LITERAL+ ID IDLE UNSELECT";
    if (!authenticated_) list += " SASL-IR AUTH=PLAIN AUTH=LOGIN";
    if (!authenticated_ && offers_tls(tls_)) list += " STARTTLS";
    return list;
  }

  static bool is_inbox(std::string_view append) {
    const auto arguments = parse_arguments(append);
    return arguments && arguments->size() >= 2 && ascii::iequals((*arguments)[1], "INBOX");
  }

  Step ok(std::string& reply, std::string_view text) const { return answer(reply, " OK ", text); }
  Step no(std::string& reply, std::string_view text) const { return answer(reply, " NO ", text); }
  Step bad(std::string& reply, std::string_view text) const { return answer(reply, " BAD ", text); }
  Step answer(std::string& reply, std::string_view status, std::string_view text) const {
    reply.append(tag_).append(status).append(text) += "\r\n";
    return {};
  }

  Tls tls_;
  const Mailbox& mailbox_;
  std::string tag_;  // of the current command, or of the last one
  bool authenticated_ = false;
  bool idling_ = false;
  std::optional<Sasl> sasl_;
  std::optional<std::vector<Mailbox::File>> selected_;
};

constexpr Imap::Command Imap::kCommands[] = {
    {"CAPABILITY", &Imap::capability, State::any, true},
    {"NOOP", &Imap::noop, State::any, true},
    {"ID", &Imap::id, State::any, true},
    {"LOGOUT", &Imap::logout, State::any, true},
    {"STARTTLS", &Imap::starttls, State::any, true},
    {"LOGIN", &Imap::login, State::any, false},
    {"AUTHENTICATE", &Imap::authenticate, State::any, false},
    {"LIST", &Imap::list, State::authenticated, false},
    {"SELECT", &Imap::select, State::authenticated, false},
    {"EXAMINE", &Imap::select, State::authenticated, false},
    {"APPEND", &Imap::append, State::authenticated, false},
    {"IDLE", &Imap::idle, State::authenticated, false},
    {"XSEND", &Imap::xsend, State::authenticated, false},
    {"FETCH", &Imap::fetch, State::selected, false},
    {"UID", &Imap::uid, State::selected, false},
    {"CHECK", &Imap::noop, State::selected, false},
    {"CLOSE", &Imap::unselect, State::selected, false},
    {"UNSELECT", &Imap::unselect, State::selected, false},
};

Step Imap::on_command(std::string_view command, std::string& reply) {
  if (idling_) {
    idling_ = false;
    return ascii::iequals(command, "DONE") ? noop({}, reply) : bad(reply, "DONE ends IDLE");
  }
  if (sasl_) {
    if (command == "*") {
      sasl_.reset();
      return bad(reply, "cancelled");
    }
    sasl_->answer();
    return go_on(reply);
  }
  tag_ = ascii::first_word(command);
  const auto rest = ascii::after_first_word(command);
  if (tag_.empty() || rest.empty()) {
    tag_ = "*";
    return bad(reply, "tag and command");
  }
  const auto verb = ascii::first_word(rest);
  const auto* const found = find_command(kCommands, verb);
  if (found == nullptr) return bad(reply, "unknown command");
  if (tls_ == Tls::required && !found->before_tls) {
    const bool login = found->handler == &Imap::login || found->handler == &Imap::authenticate;
    return login ? no(reply, "[PRIVACYREQUIRED] STARTTLS first") : bad(reply, "STARTTLS first");
  }
  if (found->state != State::any && !authenticated_) return bad(reply, "log in first");
  if (found->state == State::selected && !selected_) return bad(reply, "SELECT INBOX first");
  const auto arguments = parse_arguments(ascii::after_first_word(rest));
  if (!arguments) return bad(reply, "a quote or a parenthesis is missing");
  return (this->*found->handler)(*arguments, reply);
}

}  // namespace

std::unique_ptr<Protocol> make_imap(Tls tls, const Mailbox& mailbox) {
  return std::make_unique<Imap>(tls, mailbox);
}

}  // namespace starttls::bench
