#pragma once

#include <fcntl.h>
#include <unistd.h>

namespace starttls {

/// Opens those of 0, 1 and 2 that are closed. Otherwise a socket or a file of ours would get such a
/// number, and texts for people would be written to it. A closed standard output stays useless, so
/// that a command says so if its output is lost. Returns false if one cannot be opened. Called
/// first in `main`.
[[nodiscard]] inline bool open_standard_descriptors() noexcept {
  for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; ++fd) {
    if (::fcntl(fd, F_GETFD) >= 0) continue;
    const int mode = fd == STDOUT_FILENO ? O_RDONLY : O_RDWR;
    if (::open("/dev/null", mode) != fd) return false;  // open takes the lowest free number
  }
  return true;
}

}  // namespace starttls
