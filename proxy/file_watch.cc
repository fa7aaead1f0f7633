#include "proxy/file_watch.h"

#include <utility>

#include <sys/stat.h>

namespace starttls {
namespace {

/// The kernel stamps files with the time of its last timer tick, not with the clock's.
constexpr std::chrono::milliseconds kTick{10};

std::int64_t nanoseconds(const timespec& time) noexcept {
  return std::int64_t{time.tv_sec} * 1'000'000'000 + time.tv_nsec;
}

}  // namespace

void FileWatch::follow(const std::vector<std::string>& files, Clock::time_point since) {
  const auto read_at =
      std::chrono::duration_cast<std::chrono::nanoseconds>((since - kTick).time_since_epoch());
  std::map<std::string, Version> followed;
  for (const auto& file : files) {
    if (const auto known = files_.find(file); known != files_.end()) {
      followed.insert(*known);
      continue;
    }
    const Version now = look_at(file);
    followed.emplace(file, now.changed_ns < read_at.count() ? now : Version{});
  }
  files_ = std::move(followed);
}

bool FileWatch::changed() {
  bool any = false;
  for (auto& [file, version] : files_) {
    const Version now = look_at(file);
    any |= std::exchange(version, now) != now;
  }
  return any;
}

FileWatch::Version FileWatch::look_at(const std::string& file) noexcept {
  struct stat status = {};
  if (::stat(file.c_str(), &status) != 0) return {};
  return {.device = status.st_dev,
          .inode = status.st_ino,
          .size = static_cast<std::uint64_t>(status.st_size),
          .written_ns = nanoseconds(status.st_mtim),
          .changed_ns = nanoseconds(status.st_ctim)};
}

}  // namespace starttls
