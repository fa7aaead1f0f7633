#pragma once

#include <cerrno>
#include <cstdio>
#include <string>
#include <system_error>

#include "proxy/exit_status.h"

namespace starttls {

/// Prints the output of a command. Returns the exit status: `status`, or kExitOutput after a line
/// on standard error. A reader that has closed the pipe (| head) is no failure.
[[nodiscard]] inline int print_output(const std::string& text, int status) {
  errno = 0;
  const bool written = std::fputs(text.c_str(), stdout) >= 0 && std::fflush(stdout) == 0;
  if (written || errno == EPIPE) return status;
  std::fprintf(stderr, "starttls-proxy: the output cannot be written: %s\n",
               std::generic_category().message(errno).c_str());
  return kExitOutput;
}

}  // namespace starttls
