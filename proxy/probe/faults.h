#pragma once

// The faults of a server's certificate: the one for which the policy refuses it, and those that the
// certificate itself shows.

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "proxy/probe/report.h"

namespace starttls {

enum class Fault : std::uint8_t {
  unknown_ca,     ///< no path leads to a trusted CA
  self_signed,    ///< the same, and the certificate is its own issuer
  expired,        ///< it, or a certificate above it
  not_yet_valid,  ///< it, or a certificate above it
  wrong_name,     ///< it does not name the server
  wrong_pin,      ///< its key is not pinned
  weak,           ///< a key or a signature on its path is too weak
  unreadable,     ///< it does not parse
  other,          ///< the reason has the words of the TLS library
};

/// Returns the fault's name in JSON.
[[nodiscard]] std::string_view name(Fault fault) noexcept;

/// Returns the faults, each once. If the certificate is refused, the reason of the policy comes
/// first. With `verify` other than "full", the policy does not look at names and dates, so the
/// server may be accepted all the same.
[[nodiscard]] std::vector<Fault> faults(const ProbeReport& report);

/// Returns a sentence for each fault that the server's certificate shows besides the reason of the
/// policy.
[[nodiscard]] std::vector<std::string> further_faults(const ProbeReport& report);

}  // namespace starttls
