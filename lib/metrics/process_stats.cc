#include "lib/metrics/process_stats.h"

#include <array>
#include <cerrno>
#include <cstddef>
#include <ctime>
#include <string>

#include <dirent.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/base/ascii.h"

namespace starttls {
namespace {

/// Reads the file from its beginning, up to `limit` bytes. The kernel makes a file of /proc anew
/// for each read.
std::string read_from_start(int fd, std::size_t limit) {
  std::string text(limit, '\0');
  std::size_t size = 0;
  while (size < limit) {
    const auto count = ::pread(fd, text.data() + size, limit - size, static_cast<off_t>(size));
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) break;
    size += static_cast<std::size_t>(count);
  }
  text.resize(size);
  return text;
}

/// Returns when the machine was started, in seconds since 1970. It uses the clocks, because a
/// service may have no /proc/stat (systemd's ProcSubset=pid).
std::optional<double> boot_time() {
  timespec now{};
  timespec since_boot{};
  if (::clock_gettime(CLOCK_REALTIME, &now) != 0 ||
      ::clock_gettime(CLOCK_BOOTTIME, &since_boot) != 0) {
    return std::nullopt;
  }
  const auto seconds = [](const timespec& time) {
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) / 1e9;
  };
  return seconds(now) - seconds(since_boot);
}

/// Counts the descriptors. Newer kernels (6.2) report their number without listing them.
std::optional<std::uint64_t> count_descriptors(int folder) {
  struct stat about = {};
  if (::fstat(folder, &about) == 0 && about.st_size > 0) {
    return static_cast<std::uint64_t>(about.st_size);
  }
  Descriptor copy{::fcntl(folder, F_DUPFD_CLOEXEC, 0)};
  if (copy.get() < 0) return std::nullopt;
  DIR* const entries = ::fdopendir(copy.get());
  if (entries == nullptr) return std::nullopt;
  static_cast<void>(copy.release());  // closedir closes it
  ::rewinddir(entries);               // the copy shares its position with the original
  std::uint64_t count = 0;
  while (const dirent* entry = ::readdir(entries)) {
    if (entry->d_name[0] != '.') ++count;
  }
  ::closedir(entries);
  return count == 0 ? 0 : count - 1;  // without the copy itself
}

}  // namespace

std::optional<ProcessTimes> parse_process_stat(std::string_view text) {
  // The second field is the program's name in parentheses, which may hold spaces and parentheses.
  const auto name_end = text.rfind(')');
  if (name_end == std::string_view::npos) return std::nullopt;
  text = ascii::trim(text.substr(name_end + 1));
  if (text.ends_with('\n')) text.remove_suffix(1);

  constexpr std::size_t kFirst = 3;  // the number of the field after the name
  constexpr std::size_t kLast = 24;
  std::array<std::uint64_t, kLast + 1> fields{};
  for (std::size_t number = kFirst; number <= kLast; ++number) {
    if (text.empty()) return std::nullopt;
    const auto value = ascii::parse_number(ascii::first_word(text));
    if (value) fields[number] = *value;
    // The fields between these, a letter and some negative numbers, are not needed.
    const bool wanted = number == 14 || number == 15 || number >= 22;
    if (wanted && !value) return std::nullopt;
    text = ascii::after_first_word(text);
  }
  return ProcessTimes{.cpu_ticks = fields[14] + fields[15],
                      .start_ticks = fields[22],
                      .virtual_bytes = fields[23],
                      .resident_pages = fields[24]};
}

ProcessReader::ProcessReader()
    : stat_(::open("/proc/self/stat", O_RDONLY | O_CLOEXEC)),
      descriptors_(::open("/proc/self/fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC)),
      booted_at_(boot_time()) {}

ProcessStats ProcessReader::read() {
  ProcessStats stats;
  const auto ticks = static_cast<double>(::sysconf(_SC_CLK_TCK));
  const auto page = static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
  if (stat_.get() >= 0) {
    if (const auto times = parse_process_stat(read_from_start(stat_.get(), 4096))) {
      stats.cpu_seconds = static_cast<double>(times->cpu_ticks) / ticks;
      stats.virtual_bytes = times->virtual_bytes;
      stats.resident_bytes = times->resident_pages * page;
      if (booted_at_) {
        stats.start_time_seconds = *booted_at_ + static_cast<double>(times->start_ticks) / ticks;
      }
    }
  }
  if (descriptors_.get() >= 0) stats.open_descriptors = count_descriptors(descriptors_.get());
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) == 0) stats.max_descriptors = limit.rlim_cur;
  return stats;
}

}  // namespace starttls
