#pragma once

// From a stunnel.conf to our configuration: for those who replace stunnel in front of a mail server
// or a mail client.

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace starttls {

struct Conversion {
  std::string toml;                ///< "" where no service could be converted
  std::vector<std::string> notes;  ///< what it could not carry over, in the order of the file:
                                   ///< "line 7: [imap] CRLfile: revocation lists are not read"
  std::size_t services = 0;        ///< converted ones
};

/// Pure: opens no file that `text` names. Where stunnel is looser than we are by default (servers
/// that are not verified, listeners open to anyone) the result keeps to our default, and a note
/// says so; a check of clients that cannot be carried over leaves the service out, for without it
/// more would get in than before.
[[nodiscard]] Conversion convert_stunnel(std::string_view text);

/// Prints the result for a file, the notes on standard error. Returns the exit status: 0, or
/// kExitConfig where the file cannot be read or has no service that could be converted.
[[nodiscard]] int convert_file(const std::string& path);

}  // namespace starttls
