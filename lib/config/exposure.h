#pragma once

// Prevents an accidental open relay, and clients that use the proxy's secret by accident. A service
// must say which clients may connect, if others can reach its listener and a stranger could misuse
// it. The loader, the check of inherited sockets at start, and `convert` share this one rule.

#include <cstdint>
#include <string>

#include "lib/config/config.h"

namespace starttls::config {

/// A way in which a stranger could misuse a service.
enum class Exposure : std::uint8_t {
  none,         ///< nothing, or the service says which clients may connect
  secret,       ///< the proxy logs in with its own secret, and nothing says for which clients
  clear_text,   ///< clients may speak in the clear, so nothing about them is proved
  certificate,  ///< the server takes every client for the owner of `upstream.certificate`
  accounts,     ///< clients can try passwords of accounts, to use the proxy's secret
  relay,        ///< mail: the server takes every client for this machine, and may relay for it
};

/// True if clients of `service` use a secret that is the proxy's.
[[nodiscard]] bool lends_secret(const Service& service) noexcept;
/// True if the service says which clients may use the proxy's secret: each account that uses one
/// has a password, or clients need a certificate, or `allow` has narrow networks only.
[[nodiscard]] bool is_secret_fenced(const Service& service) noexcept;
/// Returns the first network of `allow` that is too wide for clients that use the proxy's secret;
/// nullptr if all are narrow.
[[nodiscard]] const Network* wide_network(const Downstream& downstream) noexcept;

/// Returns what a stranger could misuse if a listener of `service` could be reached from other
/// machines. `downstream.allow` is an answer in all cases (if only `allow` protects a secret, its
/// networks must be narrow), and `client_ca` is one if TLS is required. If only mail is at risk, it
/// is enough that the server knows the client's address (`send_proxy`, `source`).
[[nodiscard]] Exposure exposure(const Service& service) noexcept;

/// True if `risk` is one at a listener at `address`. Only this machine reaches loopback and unix
/// sockets. But a balancer on it can pass on clients from anywhere (proxy_protocol), and the
/// proxy's secret is not for them.
[[nodiscard]] bool is_exposed_at(const Address& address, const Service& service,
                                 Exposure risk) noexcept;

/// The spelling of the keys that answer an exposure: in a file, or on the command line.
enum class Spelling : std::uint8_t { keys, flags };

/// Returns the error for a listener at `where` that others can reach: what is at risk, and what to
/// add. `exposure` is not `none`.
[[nodiscard]] std::string exposure_error(Exposure exposure, const std::string& where,
                                         Spelling spelling);

}  // namespace starttls::config
