#pragma once

// Service identity (RFC 9525): reads the names of a certificate and checks if one of them is the
// one we want. Pure functions. The library's own matcher differs between BoringSSL versions (common
// name, partial wildcards), and SNI needs the same rule.

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace starttls::tls {

/// The names in a certificate's subjectAltName. The common name is never one (RFC 9525 §6.4.4).
struct PresentedNames {
  std::vector<std::string> dns;  ///< dNSName unchanged, any bytes
  std::vector<std::string> ip;   ///< iPAddress: 4 or 16 bytes in network order, others left out

  friend bool operator==(const PresentedNames&, const PresentedNames&) = default;
};

/// True if dNSName `presented` names `reference` (RFC 9525 §6.3). Case does not matter. A wildcard
/// is the whole left-most label, matches exactly one label, and has at least two after it. One
/// trailing dot of the reference is ignored. A text that is not a host name (a NUL in it, an empty
/// label) matches nothing.
[[nodiscard]] bool dns_name_matches(std::string_view presented,
                                    std::string_view reference) noexcept;

/// Returns the bytes of an IPv4 or IPv6 literal (4 or 16, network order; a zone is left out).
/// Returns nothing if `text` is no such literal.
[[nodiscard]] std::optional<std::string> ip_bytes(std::string_view text);

/// True if `reference` is among `names`: an IP literal only as iPAddress, any other name only as
/// dNSName. A server with other names is refused (X1 to X4).
[[nodiscard]] bool names_match(const PresentedNames& names, std::string_view reference);

/// Returns the names for people: "a, b, 192.0.2.1", printable ASCII, bounded; "no name" if there is
/// none.
[[nodiscard]] std::string describe(const PresentedNames& names);

/// Returns each name as text, for programs: host names first, then addresses. Escaped, and none is
/// left out.
[[nodiscard]] std::vector<std::string> texts(const PresentedNames& names);

}  // namespace starttls::tls
