#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "tools/mail_server/protocol.h"

namespace starttls::bench {

/// A protocol whose commands may contain literals (RFC 9051 §4.3, RFC 5804 §4). A literal becomes
/// a quoted string in its command, or, where the protocol gives a message for it, goes there, and
/// an empty string stands in its place.
///
/// Memory: a command of `kMaxCommand` octets with its literals.
class LiteralProtocol : public Protocol {
 public:
  [[nodiscard]] Step step(std::string_view input, std::string& reply) final;

 protected:
  struct Literal {
    std::uint64_t octets = 0;
    bool waits = false;  ///< for our go-ahead: no `+` behind the number (RFC 7888)
  };
  enum class Verdict : std::uint8_t {
    take,    ///< into the command, or into the message that was handed to `take_message`
    refuse,  ///< the reply says why; possible only where the literal waits
    close,   ///< what follows would be taken for commands; the reply says why
  };

  /// The next literal is this message.
  void take_message(std::unique_ptr<Message> message) noexcept { message_ = std::move(message); }
  /// The one that has come with the command at hand; null where there was none.
  [[nodiscard]] std::unique_ptr<Message> taken_message() noexcept { return std::move(message_); }
  [[nodiscard]] bool has_message() const noexcept { return message_ != nullptr; }

 private:
  /// One command, its literals as quoted strings. `Step::consumed` is the caller's business.
  [[nodiscard]] virtual Step on_command(std::string_view command, std::string& reply) = 0;
  /// A literal is announced at the end of `command`.
  [[nodiscard]] virtual Verdict on_literal(std::string_view command, Literal literal,
                                           std::string& reply) = 0;
  virtual void on_long_line(std::string& reply) = 0;

  Step take_literal(std::string_view input);

  std::string command_;  // what there is of it, where literals make it several lines
  std::string literal_;  // what has come of the one that goes into the command
  std::unique_ptr<Message> message_;
  std::uint64_t literal_octets_ = 0;  // still to come
};

}  // namespace starttls::bench
