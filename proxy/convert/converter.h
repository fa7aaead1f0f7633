#pragma once

// Converts a stunnel.conf to our configuration, for people who replace stunnel in front of a mail
// server or a mail client.

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace starttls {

struct Conversion {
  std::string toml;                ///< "" if no service could be converted; has the notes too
  std::vector<std::string> notes;  ///< what it could not carry over, in the order of the file:
                                   ///< "line 7: [imap] CRLfile: revocation is not checked"
  std::size_t sections = 0;        ///< the services of the file
  std::size_t services = 0;        ///< converted ones
  std::size_t left_out = 0;        ///< the others, except those that became a certificate of one
};

/// Converts the text of a stunnel.conf. Opens no file that `text` names. If stunnel is looser than
/// our defaults, the result keeps to our defaults, and a note says so. Examples are servers that
/// are not verified, and listeners open to anyone. If a check of clients cannot be carried over,
/// the service is left out. Without the check, more clients would be accepted than before.
[[nodiscard]] Conversion convert_stunnel(std::string_view text);

}  // namespace starttls
