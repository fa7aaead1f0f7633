#pragma once

// Finds the blocks of a PEM file (RFC 7468). The library's reader skips all that it does not
// recognise; then a chain loses a certificate and nothing reports it. So every "-----BEGIN" is
// found here, and each is either a whole block or a fault.

#include <cstddef>
#include <string_view>
#include <vector>

namespace starttls::tls {

/// A block of a PEM file, or a fault in it. Points into the text that it was found in.
struct PemBlock {
  std::size_t line = 0;    ///< in which it begins, from 1
  std::string_view label;  ///< "CERTIFICATE"; "" if there is a fault
  std::string_view
      text;  ///< from its first dash to the end of its last line; "" if there is a fault
  std::string_view fault;  ///< "" or what is wrong, in words that follow "line 7: "
};

/// Returns the blocks of `text` in order. Lines outside of blocks are comments. A BOM at the start
/// of a line is ignored: editors write it, and joined files have it in the middle.
[[nodiscard]] std::vector<PemBlock> find_pem_blocks(std::string_view text);

/// True for "PRIVATE KEY", "EC PARAMETERS", "RSA PUBLIC KEY" and the like. These may be in a file
/// of certificates and are none.
[[nodiscard]] bool is_key_or_parameters(std::string_view label) noexcept;

/// True for "CERTIFICATE" and its two other labels, "X509 CERTIFICATE" and "TRUSTED CERTIFICATE".
[[nodiscard]] bool is_certificate(std::string_view label) noexcept;

}  // namespace starttls::tls
