#pragma once

// Converts a stunnel.conf to our configuration, for people who replace stunnel in front of a mail
// server or a mail client.

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace starttls {

struct Conversion {
  std::string toml;                ///< "" if no service could be converted
  std::vector<std::string> notes;  ///< what it could not carry over, in the order of the file:
                                   ///< "line 7: [imap] CRLfile: revocation lists are not read"
  std::size_t services = 0;        ///< converted ones
};

/// Converts the text of a stunnel.conf. Opens no file that `text` names. If stunnel is looser than
/// our defaults, the result keeps to our defaults, and a note says so. Examples are servers that
/// are not verified, and listeners open to anyone. If a check of clients cannot be carried over,
/// the service is left out. Without the check, more clients would be accepted than before.
[[nodiscard]] Conversion convert_stunnel(std::string_view text);

/// Prints the result for a file, and the notes on standard error. Returns the exit status: 0, or
/// kExitConfig if the file cannot be read or has no service that could be converted. It is
/// kExitOutput if the result cannot be printed.
[[nodiscard]] int convert_file(const std::string& path);

}  // namespace starttls
