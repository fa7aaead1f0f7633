#pragma once

// The parts of a protocol that differ: words, questions and roles. Each protocol's source defines
// its own. The table (protocols.h) adds name and ports.

#include <cstdint>
#include <memory>
#include <string_view>

#include "lib/proto/capability_query.h"
#include "lib/proto/role.h"

namespace starttls::proto {

struct LoginDialect;  ///< login/login_dialect.h

struct Parts {
  /// Words of failure: the text before and after the reason in the one-line reply
  /// (`failure_reply`).
  struct Words {
    std::string_view unavailable;  ///< unreachable, time-out, closed
    std::string_view refused;  ///< the server greeted with a refusal; limit, draining, not allowed
    std::string_view policy;   ///< no STARTTLS, refused, attack, protocol error of the server,
                               ///< too many errors of the client
    std::string_view certificate;             ///< handshake, certificate
    std::string_view client_protocol;         ///< the client's own protocol error
    std::string_view suffix = {};             ///< closes the reply, before CRLF
    std::string_view server = "mail server";  ///< comes before the server's name
  };

  Words words;
  CapabilityQuery capabilities;
  /// Reads the code of the server's last reply: see `last_smtp_reply`. nullptr if the protocol's
  /// replies have no codes that the log needs.
  std::uint16_t (*last_reply)(std::uint16_t before, std::string_view bytes,
                              bool begins_line) noexcept = nullptr;
  const LoginDialect* login;  ///< how a login of ours is made; never null
  std::unique_ptr<UpstreamRole> (*upstream)(const RoleSettings&);
  std::unique_ptr<DownstreamRole> (*downstream)(const RoleSettings&);
};

namespace parts {

[[nodiscard]] Parts smtp();   ///< RFC 5321, STARTTLS: RFC 3207
[[nodiscard]] Parts lmtp();   ///< RFC 2033: SMTP with another hello
[[nodiscard]] Parts imap();   ///< RFC 9051, RFC 3501; LOGINDISABLED: RFC 2595 §3. Needs a tag
[[nodiscard]] Parts pop3();   ///< RFC 1939, STLS: RFC 2595 §4
[[nodiscard]] Parts sieve();  ///< ManageSieve, RFC 5804
[[nodiscard]] Parts nntp();   ///< RFC 3977, STARTTLS: RFC 4642

}  // namespace parts

/// Makes a role of the type, for the factories of `Parts`.
template <typename Base, typename Role>
[[nodiscard]] std::unique_ptr<Base> make_role(const RoleSettings& settings) {
  return std::make_unique<Role>(settings);
}

}  // namespace starttls::proto
