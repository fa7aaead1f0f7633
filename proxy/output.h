#pragma once

#include <cerrno>
#include <cstdio>
#include <string>
#include <system_error>

namespace starttls {

inline constexpr int kExitOutput = 74;  // EX_IOERR: what was to be printed is lost

/// Prints what somebody has asked for, all there is. Returns the exit status: `status`, or, said on
/// standard error, kExitOutput. A reader who has had enough (| head) has lost nothing.
[[nodiscard]] inline int print_output(const std::string& text, int status) {
  errno = 0;
  const bool written = std::fputs(text.c_str(), stdout) >= 0 && std::fflush(stdout) == 0;
  if (written || errno == EPIPE) return status;
  std::fprintf(stderr, "starttls-proxy: what was asked for cannot be printed: %s\n",
               std::generic_category().message(errno).c_str());
  return kExitOutput;
}

}  // namespace starttls
