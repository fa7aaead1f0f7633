#pragma once

// The numbers that Prometheus' client libraries report about their own process.

#include <cstdint>
#include <optional>
#include <string_view>

#include "lib/base/descriptor.h"

namespace starttls {

/// The numbers of this process. A number is missing if the system does not report it.
struct ProcessStats {
  std::optional<double> cpu_seconds;
  std::optional<double> start_time_seconds;  ///< since 1970
  std::optional<std::uint64_t> virtual_bytes;
  std::optional<std::uint64_t> resident_bytes;
  std::optional<std::uint64_t> open_descriptors;
  std::optional<std::uint64_t> max_descriptors;
};

/// Reads the numbers from /proc/self. The constructor opens the files. So it must run before a
/// sandbox closes the file system and before the process gives up rights.
class ProcessReader {
 public:
  ProcessReader();

  [[nodiscard]] ProcessStats read();

 private:
  Descriptor stat_;         // /proc/self/stat
  Descriptor descriptors_;  // /proc/self/fd
  std::optional<double> booted_at_;
};

/// The fields of /proc/PID/stat (proc(5)) that are used, in the kernel's units.
struct ProcessTimes {
  std::uint64_t cpu_ticks = 0;    ///< user and system
  std::uint64_t start_ticks = 0;  ///< since the machine was started
  std::uint64_t virtual_bytes = 0;
  std::uint64_t resident_pages = 0;
};
[[nodiscard]] std::optional<ProcessTimes> parse_process_stat(std::string_view text);

}  // namespace starttls
