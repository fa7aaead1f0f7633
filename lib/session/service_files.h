#pragma once

// Which of a service's files keep it from being made.

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "lib/config/config.h"

namespace starttls::session {

struct FileProblem {
  std::string_view key;  ///< of the configuration: "service.downstream.certificates.key"
  std::size_t row = 0;   ///< of `certificates`
  std::string reason;    ///< begins with the file's name
};

/// Reads all files that `config` names for TLS and that would be used, and tells what is wrong with
/// each. A file without a name is one that the loader has refused already: what can be said of the
/// others is said.
[[nodiscard]] std::vector<FileProblem> check_files(const config::Service& config);

}  // namespace starttls::session
