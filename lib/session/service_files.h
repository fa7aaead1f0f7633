#pragma once

// Finds the files that prevent a service from being made.

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "lib/config/config.h"

namespace starttls::session {

struct FileProblem {
  std::string_view key;  ///< key in the configuration: "service.downstream.certificates.key"
  std::size_t row = 0;   ///< index in `certificates`
  std::string file;      ///< "": the system's trust store
  std::string reason;    ///< begins with the file's name
};

/// Reads all files that `config` names for TLS and that would be used, and returns what is wrong
/// with each. A file name is empty if the loader has refused that file already. The other files are
/// checked as far as possible without it.
[[nodiscard]] std::vector<FileProblem> check_files(const config::Service& config);

}  // namespace starttls::session
