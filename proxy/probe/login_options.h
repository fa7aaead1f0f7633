#pragma once

#include <string>

namespace starttls {

/// The options of `probe` about a login. No option has a secret in it: every user of a machine can
/// read its command lines.
struct LoginOptions {
  bool wanted = false;
  std::string account = {};  ///< a name at the proxy or at the server; "" = the only one there is
  std::string file = {};     ///< the secret is its first line; "-" = standard input;
                             ///< "" = the configuration has it
  bool token = false;        ///< the secret is an OAuth access token
};

}  // namespace starttls
