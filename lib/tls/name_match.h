#pragma once

// Service identity (RFC 9525): which names a certificate presents and whether one of them is the
// one we want. Pure; the library's own matcher differs between BoringSSL versions (common name,
// partial wildcards), and SNI needs the same rule.

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace starttls::tls {

/// The names in a certificate's subjectAltName. The common name is never one (RFC 9525 §6.4.4).
struct PresentedNames {
  std::vector<std::string> dns;  ///< dNSName as it stands, any octets
  std::vector<std::string> ip;   ///< iPAddress: 4 or 16 octets in network order, others left out

  friend bool operator==(const PresentedNames&, const PresentedNames&) = default;
};

/// Whether dNSName `presented` names `reference` (RFC 9525 §6.3): without regard to case; a
/// wildcard is the whole left-most label, stands for exactly one label, and has at least two behind
/// it. One trailing dot of the reference is ignored. What is no host name (a NUL in it, an empty
/// label) matches nothing.
[[nodiscard]] bool dns_name_matches(std::string_view presented,
                                    std::string_view reference) noexcept;

/// The octets of an IPv4 or IPv6 literal (4 or 16, network order; a zone is left out); nothing
/// where `text` is none.
[[nodiscard]] std::optional<std::string> ip_octets(std::string_view text);

/// True if `reference` is among `names`: an IP literal only as iPAddress, all else only as dNSName.
/// A server with other names is refused (X1 to X4).
[[nodiscard]] bool names_match(const PresentedNames& names, std::string_view reference);

/// For people: "a, b, 192.0.2.1", printable ASCII, bounded; "no name" where there is none.
[[nodiscard]] std::string describe(const PresentedNames& names);

}  // namespace starttls::tls
