#pragma once

// Files that are read as a whole: configurations, certificates, keys and secrets.

#include <cstddef>
#include <string>

#include <sys/stat.h>

#include "lib/base/descriptor.h"
#include "lib/base/error.h"

namespace starttls {

/// A regular file that is open for reading.
struct RegularFile {
  Descriptor descriptor;
  struct ::stat status = {};  ///< of the open file: a check of it is about what is read
};

/// Opens a regular file. It waits for no other process: a FIFO without a writer would hold up the
/// caller. Errors: config, in words that follow the file's name.
[[nodiscard]] Result<RegularFile> open_regular_file(const std::string& path);

/// Reads a whole file of any kind, such as a pipe (`/dev/stdin`). Errors: as the other two.
[[nodiscard]] Result<std::string> read_any_file(const std::string& path, std::size_t max);

/// Reads from a descriptor to its end. A pipe that does not block has 5 s for each part. The text
/// may be a secret: no other copy of it stays in memory, not even after an error, and the caller
/// wipes it. Errors: config, in words that follow the file's name; also if there are more than
/// `max` bytes, which are whole MiB.
[[nodiscard]] Result<std::string> read_to_end(int descriptor, std::size_t max);

}  // namespace starttls
