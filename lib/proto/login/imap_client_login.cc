#include "lib/proto/login/imap_client_login.h"

#include <algorithm>

#include "lib/base/ascii.h"
#include "lib/proto/imap_lists.h"
#include "lib/proto/imap_syntax.h"
#include "lib/proto/login/login_dialect.h"
#include "lib/proto/quoted.h"

namespace starttls::proto::imap {
namespace {

/// Reads the two strings of LOGIN line by line: they may be literals, which divide its lines.
class LoginReader {
 public:
  enum class End : std::uint8_t { literal, command, malformed };

  /// `limit` is the longest string that can come.
  explicit LoginReader(std::size_t limit) {
    password_.reserve(limit);  // so that no part of it is copied
  }
  LoginReader(const LoginReader&) = delete;
  LoginReader& operator=(const LoginReader&) = delete;
  ~LoginReader() { wipe(password_); }

  /// Reads a line, up to its end or to the literal that it announces.
  End read_line(std::string_view text);
  void read_literal(std::string_view text) {
    word() += text;
    ++words_;
  }
  [[nodiscard]] const std::string& name() const noexcept { return name_; }
  [[nodiscard]] const std::string& password() const noexcept { return password_; }

 private:
  [[nodiscard]] bool read_atom(std::string_view& rest);
  [[nodiscard]] std::string& word() noexcept { return words_ == 0 ? name_ : password_; }

  std::size_t words_ = 0;
  std::string name_;
  std::string password_;
};

LoginReader::End LoginReader::read_line(std::string_view text) {
  auto rest = text;
  while (words_ < 2) {
    if (words_ == 1) {
      if (!rest.starts_with(' ')) return End::malformed;
      rest.remove_prefix(1);
    }
    if (rest.starts_with('{') && literal_at_end(rest) &&
        rest.find('{', 1) == std::string_view::npos) {
      return End::literal;
    }
    const bool read = rest.starts_with('"') ? take_quoted(rest, word()) : read_atom(rest);
    if (!read) return End::malformed;
    ++words_;
  }
  return ascii::trim(rest).empty() ? End::command : End::malformed;
}

/// Reads an atom. Clients write 8-bit bytes into it, as into quoted strings (RFC 6855).
bool LoginReader::read_atom(std::string_view& rest) {
  constexpr std::string_view kSpecials = "(){ %*\"\\";
  const auto atom = rest.substr(0, rest.find(' '));
  rest.remove_prefix(atom.size());
  word() = atom;
  return !atom.empty() && std::all_of(atom.begin(), atom.end(), [=](char c) {
    return !ascii::is_control(c) && kSpecials.find(c) == std::string_view::npos;
  });
}

}  // namespace

LoginCommand read_login(std::string_view input, LineRules rules) {
  using State = LoginCommand::State;
  const auto limit = rules.limit;
  LoginCommand command;
  const auto end = [&](Result<State> state) {
    command.state = std::move(state);
    return std::move(command);
  };
  LoginReader reader(limit);
  while (true) {
    rules.limit = limit - command.size;
    const auto line = next_line(input.substr(command.size), rules);
    if (!line) return end(fail(line.error()));
    if (!line->has_value()) return command;
    const auto [text, raw] = **line;
    command.size += raw.size();
    command.last_line = text;
    switch (reader.read_line(text)) {
      case LoginReader::End::malformed:
        return end(State::malformed);
      case LoginReader::End::command:
        command.name = reader.name();
        command.password = Secret(reader.password());
        return end(State::whole);
      case LoginReader::End::literal:
        break;
    }
    const auto literal = *literal_at_end(text);
    if (literal.size >= limit - command.size) return end(State::malformed);
    command.continuations += literal.waits ? 1 : 0;
    const auto size = static_cast<std::size_t>(literal.size);
    if (input.size() - command.size < size) return command;
    reader.read_literal(input.substr(command.size, size));
    command.size += size;
  }
}

ClientLoginCommands::ClientLoginCommands(std::string tag, LineRules rules)
    : gate_(login::kImap, *this, std::move(tag), rules) {}

ClientLoginCommands::Next ClientLoginCommands::authenticate(std::string_view tag,
                                                            std::string_view arguments) {
  tag_ = tag;
  const auto mechanism = take_field(arguments);
  const auto response = take_field(arguments);
  if (!is_atom(mechanism) || !arguments.empty()) {
    return {Next::Kind::refuse, "BAD Invalid AUTHENTICATE"};
  }
  const auto known = SaslServer::find(mechanism);
  if (!known) return {Next::Kind::refuse, "NO Mechanism not available"};
  sasl_.emplace(*known);
  return next(sasl_->begin(response.empty() ? std::nullopt : std::optional{response}));
}

ClientLoginCommands::Next ClientLoginCommands::on_response(std::string_view line) {
  return next(sasl_->on_response(line));
}

ClientLoginCommands::Next ClientLoginCommands::next(SaslServer::Status status) {
  switch (status) {
    case SaslServer::Status::going_on:
      return {Next::Kind::challenge, "+ " + std::string(sasl_->challenge()) + "\r\n"};
    case SaslServer::Status::complete:
      gate_.submit(std::exchange(sasl_, std::nullopt)->take());
      return {Next::Kind::complete};
    case SaslServer::Status::cancelled:
      sasl_.reset();
      return {Next::Kind::refuse, "BAD Authentication cancelled"};
    case SaslServer::Status::malformed:
      break;
  }
  sasl_.reset();
  return {Next::Kind::refuse, "BAD Invalid authentication exchange"};
}

void ClientLoginCommands::log_in(std::string_view tag, LoginCommand command) {
  tag_ = tag;
  gate_.submit({.name = std::move(command.name),
                .password = std::move(command.password),
                .mechanism = Mechanism::native});
}

void ClientLoginCommands::read_offer(std::string_view list) {
  auto& offer = gate_.offer();
  offer = {};
  offer.known = true;
  offer.native = login::kImap.native_unless_denied;
  login::kImap.read_offer(list, offer);
}

/// Passes the server's capabilities, and its other words before the tagged line.
std::string ClientLoginCommands::success(const ServerLogin::Reply& reply) const {
  const ListEdit how{.login = ListEdit::Login::is_over};
  std::string lines;
  std::string_view rest = reply.lines;
  while (!rest.empty()) {
    const auto line = rest.substr(0, std::min(rest.find('\n'), rest.size() - 1) + 1);
    lines += edit_list(line, how);
    rest.remove_prefix(line.size());
  }
  const auto text = reply.text.empty() ? std::string_view("Logged in") : reply.text;
  return lines + edit_list(tag_ + " OK " + std::string(text) + "\r\n", how);
}

std::string ClientLoginCommands::refusal() const {
  return answer("NO [AUTHENTICATIONFAILED]", "Authentication failed");
}

std::string ClientLoginCommands::passed_refusal(const ServerLogin::Reply& reply) const {
  if (!reply.words().empty()) return answer(reply.code, reply.text);
  const auto finer = reply.finer_code();
  return answer(finer.empty() ? reply.code : reply.code + ' ' + std::string(finer),
                kRefusedByServer);
}

std::string ClientLoginCommands::unavailable(std::string_view reason) const {
  return answer("NO [UNAVAILABLE]", reason);
}

std::string ClientLoginCommands::answer(std::string_view status, std::string_view text) const {
  constexpr std::string_view kEnd = "\r\n";
  std::string line = tag_ + ' ' + std::string(status) + ' ';
  line += ascii::printable(text, kMaxOwnLine - line.size() - kEnd.size());
  return line += kEnd;
}

}  // namespace starttls::proto::imap
