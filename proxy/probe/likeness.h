#pragma once

// Recognises a protocol by the first line that a server sends.

#include <string_view>

namespace starttls {

/// A protocol that a server's greeting looks like.
struct Likeness {
  std::string_view title;      ///< for people: "IMAP"
  std::string_view protocols;  ///< the values of `protocol` with such a greeting, in one string:
                               ///< "smtp lmtp", the likeliest first; "" = no mail protocol
  bool is_tls = false;         ///< a TLS record: the server speaks TLS from the first byte
};

/// Returns the protocol that the line looks like, or null if it looks like none of those known
/// here. `line` is the first line of a greeting, escaped as in a report.
[[nodiscard]] const Likeness* likeness_of(std::string_view line) noexcept;

}  // namespace starttls
