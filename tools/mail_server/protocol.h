#pragma once

// The server side of the mail protocols, as far as a demo and benchmarks need it. A protocol is a
// machine without I/O. Its input is what the client sent; its output is replies and a wish for the
// connection.
//
// Every login succeeds. One command is not part of the protocols; it is for benchmarks and the same
// in all of them. `XSEND BYTES` is answered with one line of success, directly followed by that
// many bytes of the bench's pattern and nothing else.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "tools/mail_server/mailbox.h"

namespace starttls::bench {

/// The longest command that is accepted; a longer one ends the connection.
inline constexpr std::size_t kMaxCommand = 4096;

enum class Want : std::uint8_t {
  input,         ///< go on
  start_tls,     ///< the reply is the go-ahead: TLS begins after it
  send_pattern,  ///< `Step::bytes` of the bench's pattern, after the reply
  close,         ///< the reply was the last
};

struct Step {
  std::size_t consumed = 0;  ///< 0 with Want::input: more is needed
  Want want = Want::input;
  std::uint64_t bytes = 0;
};

/// The TLS of a connection as its protocol sees it.
enum class Tls : std::uint8_t {
  none,      ///< there is none, and none is offered
  offered,   ///< STARTTLS is offered, and all else works without it
  required,  ///< STARTTLS is offered, and little else is possible before it
  active,
};

/// True if STARTTLS is possible.
constexpr bool offers_tls(Tls tls) noexcept {
  return tls == Tls::offered || tls == Tls::required;
}

/// One protocol on one connection. Its functions append to `reply`.
class Protocol {
 public:
  Protocol() = default;
  Protocol(const Protocol&) = delete;
  Protocol& operator=(const Protocol&) = delete;
  virtual ~Protocol() = default;

  virtual void greet(std::string& reply) = 0;
  /// Takes one command, or one piece of a message.
  [[nodiscard]] virtual Step step(std::string_view input, std::string& reply) = 0;
  /// Forgets what was said before, because STARTTLS has succeeded.
  virtual void secured(std::string& reply) = 0;
  /// Writes the last reply of a connection that had data in the clear after STARTTLS.
  virtual void refuse_injection(std::string& reply) const = 0;
};

/// A factory of one of the protocols.
using MakeProtocol = std::unique_ptr<Protocol> (*)(Tls tls, const Mailbox& mailbox);

/// Returns null if the name is not known.
[[nodiscard]] MakeProtocol find_protocol(std::string_view name) noexcept;
/// Returns "smtp, lmtp, ...".
[[nodiscard]] std::string protocol_names();

[[nodiscard]] std::unique_ptr<Protocol> make_smtp(Tls tls, const Mailbox& mailbox);
[[nodiscard]] std::unique_ptr<Protocol> make_lmtp(Tls tls, const Mailbox& mailbox);
[[nodiscard]] std::unique_ptr<Protocol> make_imap(Tls tls, const Mailbox& mailbox);
[[nodiscard]] std::unique_ptr<Protocol> make_pop3(Tls tls, const Mailbox& mailbox);
[[nodiscard]] std::unique_ptr<Protocol> make_sieve(Tls tls, const Mailbox& mailbox);
[[nodiscard]] std::unique_ptr<Protocol> make_nntp(Tls tls, const Mailbox& mailbox);

}  // namespace starttls::bench
