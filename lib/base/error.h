#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

#include <tl/expected.hpp>

namespace starttls {

/// The kind of an error, as far as the code branches on it. Each protocol maps these to its own
/// words (`lib/proto/protocols.cc`), and the session line prints `name(code)` as its outcome.
enum class Errc : std::uint8_t {
  config,             ///< the configuration is wrong
  system,             ///< a call to the operating system failed
  unreachable,        ///< name not resolved, connection refused, no route
  timeout,            ///< a deadline passed
  closed,             ///< the peer closed or reset before the protocol allowed it
  greeting_refused,   ///< the server greeted with a refusal
  tls_not_offered,    ///< the server does not offer STARTTLS and the policy requires it
  tls_refused,        ///< the server offered STARTTLS and refused it
  attack,             ///< bytes that only an attacker (or a broken peer) sends: see CVE-2011-0411
  protocol,           ///< a protocol error of the server
  client_protocol,    ///< a protocol error of the client
  too_many_errors,    ///< too many unknown and refused commands of the client
  tls_on_clear_port,  ///< the client began with TLS on a listener that speaks first in the clear
  handshake,          ///< the TLS handshake failed
  certificate,        ///< the peer's certificate is not acceptable
  tls,                ///< a TLS error after the handshake
  client_login,       ///< the client's name or password is wrong
  login,              ///< the proxy cannot log in: no secret, or the server refuses it
  limit,              ///< a configured limit is reached
  not_allowed,        ///< the client's address may not connect
  draining,           ///< the proxy is stopping
};

inline constexpr std::size_t kErrcCount = static_cast<std::size_t>(Errc::draining) + 1;

constexpr std::string_view name(Errc code) noexcept {
  switch (code) {
    case Errc::config:
      return "config";
    case Errc::system:
      return "system";
    case Errc::unreachable:
      return "unreachable";
    case Errc::timeout:
      return "timeout";
    case Errc::closed:
      return "closed";
    case Errc::greeting_refused:
      return "greeting_refused";
    case Errc::tls_not_offered:
      return "tls_not_offered";
    case Errc::tls_refused:
      return "tls_refused";
    case Errc::attack:
      return "attack";
    case Errc::protocol:
      return "protocol";
    case Errc::client_protocol:
      return "client_protocol";
    case Errc::too_many_errors:
      return "too_many_errors";
    case Errc::tls_on_clear_port:
      return "tls_on_clear_port";
    case Errc::handshake:
      return "handshake";
    case Errc::certificate:
      return "certificate";
    case Errc::tls:
      return "tls";
    case Errc::client_login:
      return "client_login";
    case Errc::login:
      return "login";
    case Errc::limit:
      return "limit";
    case Errc::not_allowed:
      return "not_allowed";
    case Errc::draining:
      return "draining";
  }
  return "unknown";
}

/// The party that an error is about.
enum class Party : std::uint8_t {
  proxy,        ///< the proxy itself, or its machine
  client,       ///< the client, or a rule by which it is not served
  server,       ///< the server, even if a client causes the error
  either_peer,  ///< the peer on the connection that had the error
};

constexpr Party concerns(Errc code) noexcept {
  switch (code) {
    case Errc::config:
    case Errc::system:
      return Party::proxy;
    case Errc::client_protocol:
    case Errc::too_many_errors:
    case Errc::tls_on_clear_port:
    case Errc::client_login:
    case Errc::limit:
    case Errc::not_allowed:
    case Errc::draining:
      return Party::client;
    case Errc::unreachable:
    case Errc::greeting_refused:
    case Errc::tls_not_offered:
    case Errc::tls_refused:
    case Errc::protocol:
    case Errc::login:
      return Party::server;
    case Errc::timeout:
    case Errc::closed:
    case Errc::attack:
    case Errc::handshake:
    case Errc::certificate:
    case Errc::tls:
      return Party::either_peer;
  }
  return Party::proxy;
}

/// The kind of an `Errc::attack`, for the metrics that count them.
enum class Attack : std::uint8_t {
  injection,    ///< bytes in the clear after the line that starts TLS (CVE-2011-0411)
  unsolicited,  ///< a reply without a command that asked for it (CVE-2021-38371)
  preauth,      ///< IMAP's PREAUTH although the policy wants STARTTLS (CVE-2020-14093)
};

inline constexpr std::string_view kAttackNames[] = {"injection", "unsolicited", "preauth"};

struct Error {
  Errc code;
  /// A few plain words that may be sent to the client: "certificate has expired". They contain no
  /// secret, and nothing from the peer unless reduced with `ascii::printable`.
  std::string reason;
  /// More facts for the reader of the log: the peer's line (see `peer_words`), subject and issuer,
  /// each address tried. May be empty. The log escapes it, and nothing else shows it.
  std::string evidence = {};
  /// Has a meaning only if `code` is `attack`.
  Attack attack = Attack::injection;
  /// Has a meaning only if `code` is `login`: the secret has not come in time.
  bool timed_out = false;
};

template <typename T = void>
using Result = tl::expected<T, Error>;

[[nodiscard]] inline tl::unexpected<Error> fail(Errc code, std::string reason,
                                                std::string evidence = {}) {
  return tl::unexpected<Error>(Error{code, std::move(reason), std::move(evidence)});
}

[[nodiscard]] inline tl::unexpected<Error> fail(Attack attack, std::string reason,
                                                std::string evidence) {
  return tl::unexpected<Error>(Error{Errc::attack, std::move(reason), std::move(evidence), attack});
}

[[nodiscard]] inline tl::unexpected<Error> fail(Error error) {
  return tl::unexpected<Error>(std::move(error));
}

/// Returns a peer's words as evidence: unchanged, but cut to a limit.
[[nodiscard]] inline std::string peer_words(std::string_view text) {
  constexpr std::size_t kMaxEvidence = 200;
  return std::string{text.substr(0, kMaxEvidence)};
}

}  // namespace starttls
