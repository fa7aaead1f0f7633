#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "lib/base/ascii.h"
#include "tools/mail_server/dot_writer.h"
#include "tools/mail_server/line_protocol.h"
#include "tools/mail_server/sasl.h"

namespace starttls::bench {
namespace {

/// POP3 (RFC 1939, RFC 2449, RFC 2595). The mailbox is the store as it was at login. Without a
/// store it is empty.
class Pop3 final : public LineProtocol {
 public:
  Pop3(Tls tls, const Mailbox& mailbox) noexcept : tls_(tls), mailbox_(mailbox) {}

  void greet(std::string& reply) override { reply += "+OK backend.test\r\n"; }
  void secured(std::string&) override {
    tls_ = Tls::active;
    has_user_ = false;
  }
  void refuse_injection(std::string& reply) const override { reply += "-ERR data behind STLS\r\n"; }

 private:
  enum class State : std::uint8_t { any, authorization, transaction };
  struct Command {
    std::string_view verb;
    Step (Pop3::*handler)(std::string_view arguments, std::string& reply);
    State state;      ///< needed
    bool before_tls;  ///< possible while required TLS is not active yet
  };
  static const Command kCommands[];

  struct Entry {
    Mailbox::File file;
    bool deleted = false;
  };

  Step on_line(std::string_view line, std::string& reply) override;
  void on_long_line(std::string& reply) override { reply += "-ERR line too long\r\n"; }
  std::optional<std::size_t> take_data(std::string_view, std::string&) override {
    return std::nullopt;
  }

  Step capa(std::string_view, std::string& reply) {
    reply += "+OK list\r\nPIPELINING\r\nUIDL\r\n";
    if (offers_tls(tls_) && !entries_) reply += "STLS\r\n";
    if (tls_ != Tls::required) reply += "USER\r\nSASL PLAIN LOGIN\r\n";
    return answer(reply, ".\r\n");
  }
  Step noop(std::string_view, std::string& reply) { return answer(reply, "+OK\r\n"); }

  Step stls(std::string_view, std::string& reply) {
    if (!offers_tls(tls_)) return answer(reply, "-ERR no STLS here\r\n");
    reply += "+OK go ahead\r\n";
    return {0, Want::start_tls};
  }

  Step user(std::string_view name, std::string& reply) {
    has_user_ = !name.empty();
    return answer(reply, has_user_ ? "+OK and the password\r\n" : "-ERR USER name\r\n");
  }
  Step pass(std::string_view, std::string& reply) {
    return has_user_ ? welcome(reply) : answer(reply, "-ERR USER first\r\n");
  }
  Step auth(std::string_view arguments, std::string& reply) {
    sasl_ = Sasl::begin(ascii::first_word(arguments), !ascii::after_first_word(arguments).empty());
    if (!sasl_) return answer(reply, "-ERR PLAIN or LOGIN\r\n");
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
    entries_.emplace();
    for (auto& file : mailbox_.messages()) entries_->push_back({std::move(file), false});
    return answer(reply, "+OK welcome\r\n");
  }

  Step stat(std::string_view, std::string& reply) {
    std::uint64_t bytes = 0;
    std::size_t count = 0;
    for (const Entry& entry : *entries_) {
      if (entry.deleted) continue;
      bytes += entry.file.bytes;
      ++count;
    }
    reply += fmt::format("+OK {} {}\r\n", count, bytes);
    return {};
  }
  Step list(std::string_view argument, std::string& reply) {
    const auto bytes_of = [](const Mailbox::File& file) { return file.bytes; };
    return list_by(argument, bytes_of, reply);
  }
  Step uidl(std::string_view argument, std::string& reply) {
    return list_by(argument, Mailbox::number, reply);
  }
  template <typename Value>
  Step list_by(std::string_view argument, const Value& value, std::string& reply) {
    if (!argument.empty()) {
      const Entry* const entry = find(argument);
      if (entry == nullptr) return answer(reply, kNoSuchMessage);
      reply += fmt::format("+OK {} {}\r\n", argument, value(entry->file));
      return {};
    }
    reply += "+OK list\r\n";
    for (std::size_t i = 0; i < entries_->size(); ++i) {
      const Entry& entry = (*entries_)[i];
      if (!entry.deleted) reply += fmt::format("{} {}\r\n", i + 1, value(entry.file));
    }
    return answer(reply, ".\r\n");
  }

  Step retr(std::string_view argument, std::string& reply) {
    const Entry* const entry = find(argument);
    const auto content = entry != nullptr ? mailbox_.read(entry->file.name)
                                          : Result<std::string>{fail(Errc::system, "")};
    if (!content) return answer(reply, kNoSuchMessage);
    reply += fmt::format("+OK {} bytes\r\n", content->size());
    append_dotted(*content, reply);
    return {};
  }
  Step dele(std::string_view argument, std::string& reply) {
    Entry* const entry = find(argument);
    if (entry == nullptr) return answer(reply, kNoSuchMessage);
    entry->deleted = true;
    return answer(reply, "+OK deleted\r\n");
  }
  Step rset(std::string_view, std::string& reply) {
    for (Entry& entry : *entries_) entry.deleted = false;
    return answer(reply, "+OK\r\n");
  }

  /// Removes the messages that are marked as deleted. Only QUIT does that (RFC 1939 §6).
  Step quit(std::string_view, std::string& reply) {
    bool removed = true;
    if (entries_) {
      for (const Entry& entry : *entries_) {
        if (entry.deleted && !mailbox_.remove(entry.file.name)) removed = false;
      }
    }
    reply += removed ? "+OK bye\r\n" : "-ERR some messages were not removed\r\n";
    return {0, Want::close};
  }

  Step xsend(std::string_view argument, std::string& reply) {
    const auto bytes = ascii::parse_number(argument);
    if (!bytes) return answer(reply, "-ERR XSEND bytes\r\n");
    reply += fmt::format("+OK {} bytes follow\r\n", *bytes);
    return {0, Want::send_pattern, *bytes};
  }

  /// Finds a message by its number. Null if there is no such message, or if it was deleted.
  Entry* find(std::string_view argument) {
    const auto number = ascii::parse_number(argument);
    if (!number || *number == 0 || *number > entries_->size()) return nullptr;
    Entry& entry = (*entries_)[static_cast<std::size_t>(*number - 1)];
    return entry.deleted ? nullptr : &entry;
  }

  static Step answer(std::string& reply, std::string_view line) {
    reply += line;
    return {};
  }

  static constexpr std::string_view kNoSuchMessage = "-ERR no such message\r\n";

  Tls tls_;
  const Mailbox& mailbox_;
  bool has_user_ = false;
  std::optional<Sasl> sasl_;
  std::optional<std::vector<Entry>> entries_;  // once logged in
};

constexpr Pop3::Command Pop3::kCommands[] = {
    {"CAPA", &Pop3::capa, State::any, true},
    {"NOOP", &Pop3::noop, State::any, true},
    {"QUIT", &Pop3::quit, State::any, true},
    {"STLS", &Pop3::stls, State::authorization, true},
    {"USER", &Pop3::user, State::authorization, false},
    {"PASS", &Pop3::pass, State::authorization, false},
    {"AUTH", &Pop3::auth, State::authorization, false},
    {"STAT", &Pop3::stat, State::transaction, false},
    {"LIST", &Pop3::list, State::transaction, false},
    {"UIDL", &Pop3::uidl, State::transaction, false},
    {"RETR", &Pop3::retr, State::transaction, false},
    {"DELE", &Pop3::dele, State::transaction, false},
    {"RSET", &Pop3::rset, State::transaction, false},
    {"XSEND", &Pop3::xsend, State::transaction, false},
};

Step Pop3::on_line(std::string_view line, std::string& reply) {
  if (sasl_) {
    if (line == "*") {
      sasl_.reset();
      return answer(reply, "-ERR cancelled\r\n");
    }
    sasl_->answer();
    return go_on(reply);
  }
  const auto* const found = find_command(kCommands, ascii::first_word(line));
  if (found == nullptr) return answer(reply, "-ERR unknown command\r\n");
  if (tls_ == Tls::required && !found->before_tls) return answer(reply, "-ERR STLS first\r\n");
  if (found->state == State::authorization && entries_) {
    return answer(reply, "-ERR logged in already\r\n");
  }
  if (found->state == State::transaction && !entries_) {
    return answer(reply, "-ERR log in first\r\n");
  }
  return (this->*found->handler)(ascii::after_first_word(line), reply);
}

}  // namespace

std::unique_ptr<Protocol> make_pop3(Tls tls, const Mailbox& mailbox) {
  return std::make_unique<Pop3>(tls, mailbox);
}

}  // namespace starttls::bench
