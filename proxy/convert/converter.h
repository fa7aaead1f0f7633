#pragma once

// Converts a stunnel.conf to our configuration, for people who replace stunnel in front of a mail
// server or a mail client.

#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "proxy/convert/stunnel_source.h"

namespace starttls {

struct Conversion {
  std::string toml;                ///< "" if no service could be converted; has the notes too
  std::vector<std::string> notes;  ///< what it could not carry over, in the order of the file:
                                   ///< "a.conf: line 7: [imap] CRLfile: revocation is not checked"
  std::size_t sections = 0;        ///< the services of the files
  std::size_t services = 0;        ///< converted ones
  std::size_t left_out = 0;        ///< the others, except those that became a certificate of one
};

/// Converts files of stunnel to one configuration. Opens no file that they name. If stunnel is
/// looser than our defaults, the result keeps to our defaults, and a note says so. Examples are
/// servers that are not verified, and listeners open to anyone. If a check of clients cannot be
/// carried over, the service is left out. Without the check, more clients would be accepted than
/// before.
[[nodiscard]] Conversion convert_stunnel(std::span<const stunnel::Source> files);

/// Converts the text of one file. Its notes do not name it.
[[nodiscard]] Conversion convert_stunnel(std::string_view text);

}  // namespace starttls
