#pragma once

// Prevents an accidental open relay. A service must say which clients may connect, if others can
// reach its listener and a stranger could misuse it. The loader, the check of inherited sockets at
// start, and `convert` share this one rule.

#include <cstdint>
#include <string>

#include "lib/config/config.h"

namespace starttls::config {

/// A way in which a stranger could misuse a service.
enum class Exposure : std::uint8_t {
  none,         ///< nothing, or the service says which clients may connect
  clear_text,   ///< clients may speak in the clear, so nothing about them is proved
  certificate,  ///< the server takes every client for the owner of `upstream.certificate`
  relay,        ///< mail: the server takes every client for this machine, and may relay for it
};

/// Returns what a stranger could misuse if a listener of `service` could be reached from other
/// machines. `downstream.allow` is an answer in all cases, and `client_ca` is one if TLS is
/// required. If only mail is at risk, it is enough that the server knows the client's address
/// (`send_proxy`, `source`).
[[nodiscard]] Exposure exposure(const Service& service) noexcept;

/// The spelling of the keys that answer an exposure: in a file, or on the command line.
enum class Spelling : std::uint8_t { keys, flags };

/// Returns the error for a listener at `where` that others can reach: what is at risk, and what to
/// add. `exposure` is not `none`.
[[nodiscard]] std::string exposure_error(Exposure exposure, const std::string& where,
                                         Spelling spelling);

}  // namespace starttls::config
