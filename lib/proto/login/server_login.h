#pragma once

// Logs in to a server: the client side of SASL, and the logins that protocols had before it. Pure:
// bytes in, bytes out. Roles use it, the upstream one before the client is greeted, the downstream
// one after the client has logged in to the proxy.
//
// An exchange takes two steps (command, challenge, response). The response goes into the command
// only where servers are known to take it: SMTP lines of at most 512 bytes, and IMAP with SASL-IR.
// A challenge after the response is the server's error in JSON; it is answered, and then the server
// refuses (RFC 7628 §3.2.2).

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "lib/base/error.h"
#include "lib/proto/lines.h"
#include "lib/proto/role.h"

namespace starttls::proto {

/// The ways to log in that a server lists.
struct LoginOffer {
  bool known = false;                   ///< a list has come on this connection, under this TLS
  std::vector<std::string> mechanisms;  ///< SASL, as the server writes them
  bool initial_response = false;        ///< IMAP: SASL-IR
  bool native = false;                  ///< the protocol's own login is possible

  [[nodiscard]] bool has(std::string_view mechanism) const noexcept;
};

struct LoginDialect;  ///< the differences between protocols: login_dialect.h

class ServerLogin {
 public:
  enum class Status : std::uint8_t {
    going_on,     ///< wait for the server
    succeeded,    ///< see `reply`
    refused,      ///< see `reply`
    not_offered,  ///< no mechanism that fits is listed: see `offer`
    gone,         ///< the server says goodbye (421, BYE); it hangs up
  };
  struct Progress {
    std::size_t consumed = 0;
    Status status = Status::going_on;
  };
  /// The server's reply that ended the exchange.
  struct Reply {
    std::string code;   ///< "535", "NO", "-ERR", "481": for the reason in the log
    std::string text;   ///< in one line, without code or tag: for the client and for people
    std::string lines;  ///< whole lines that came before the last one (capabilities), as they came
  };

  /// `dialect` outlives us. If `offer` is not known, the server is asked. `tag` is IMAP's; every
  /// command of ours gets it with a number, so that no reply can be sent early.
  ServerLogin(const LoginDialect& dialect, Credentials credentials, LoginOffer offer,
              std::string tag, LineRules rules);

  /// Sends the first command. `not_offered` is possible at once.
  [[nodiscard]] Status begin(std::string& to_server);
  /// Reads the server's input, up to the end of the reply that ends the exchange. Errors: protocol.
  [[nodiscard]] Result<Progress> on_input(std::string_view input, std::string& to_server);

  [[nodiscard]] const Reply& reply() const noexcept { return reply_; }
  [[nodiscard]] const LoginOffer& offer() const noexcept { return offer_; }
  /// Returns the mechanism in use; `automatic` before one is chosen.
  [[nodiscard]] Mechanism mechanism() const noexcept { return mechanism_; }
  [[nodiscard]] std::string_view state() const noexcept;

 private:
  const LoginDialect& dialect_;
  Credentials credentials_;
  LoginOffer offer_;
  std::string tag_;
  LineRules rules_;
  Mechanism mechanism_ = Mechanism::automatic;
  Reply reply_;
};

/// Returns the reason for the log and, for `535 5.7.139`, the remedy. `status` is not `succeeded`.
[[nodiscard]] Error login_failure(const ServerLogin& login, ServerLogin::Status status);

}  // namespace starttls::proto
