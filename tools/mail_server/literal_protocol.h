#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "tools/mail_server/protocol.h"

namespace starttls::bench {

/// A protocol that may have literals in its commands (RFC 9051 §4.3, RFC 5804 §4). A literal
/// becomes a quoted string in its command. If the protocol gives a message for it, the literal goes
/// there, and the command has an empty string in its place.
///
/// Memory: a command of `kMaxCommand` bytes with its literals.
class LiteralProtocol : public Protocol {
 public:
  [[nodiscard]] Step step(std::string_view input, std::string& reply) final;

 protected:
  struct Literal {
    std::uint64_t bytes = 0;
    bool waits = false;  ///< for our go-ahead: no `+` after the number (RFC 7888)
  };
  enum class Verdict : std::uint8_t {
    take,    ///< into the command, or into the message that was given to `take_message`
    refuse,  ///< the reply says why; possible only if the literal waits
    close,   ///< the literal would be taken for commands; the reply says why
  };

  /// Gives the message into which the next literal goes.
  void take_message(std::unique_ptr<Message> message) noexcept { message_ = std::move(message); }
  /// Returns the message that came with the current command; null if there was none.
  [[nodiscard]] std::unique_ptr<Message> taken_message() noexcept { return std::move(message_); }
  [[nodiscard]] bool has_message() const noexcept { return message_ != nullptr; }

 private:
  /// Performs one command; its literals are quoted strings. The caller sets `Step::consumed`.
  [[nodiscard]] virtual Step on_command(std::string_view command, std::string& reply) = 0;
  /// Decides about the literal that is announced at the end of `command`.
  [[nodiscard]] virtual Verdict on_literal(std::string_view command, Literal literal,
                                           std::string& reply) = 0;
  virtual void on_long_line(std::string& reply) = 0;

  Step take_literal(std::string_view input);

  std::string command_;  // the part received so far, if literals make it several lines
  std::string literal_;  // the part received so far of a literal that goes into the command
  std::unique_ptr<Message> message_;
  std::uint64_t literal_bytes_ = 0;  // still to come
};

}  // namespace starttls::bench
