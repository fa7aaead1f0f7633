#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace starttls {

/// Finds out if files have changed. They may be rewritten or replaced, or a symlink on the way may
/// lead elsewhere, as when Kubernetes swaps its secrets. It looks when asked, since inotify follows
/// no symlink and reports nothing of network file systems.
class FileWatch {
 public:
  using Clock = std::chrono::system_clock;

  /// Watches these files from now on. They were read after `since`. A new one that was written
  /// later than that has changed already. One that is missing changes when it appears.
  void follow(const std::vector<std::string>& files, Clock::time_point since);

  /// True if anything has changed since the last look.
  [[nodiscard]] bool changed();

 private:
  /// Attributes of a file. Two of its versions never have all of them in common.
  struct Version {
    std::uint64_t device = 0;
    std::uint64_t inode = 0;
    std::uint64_t size = 0;
    std::int64_t written_ns = 0;  ///< content
    std::int64_t changed_ns = 0;  ///< content, owner or mode

    friend bool operator==(const Version&, const Version&) = default;
  };
  [[nodiscard]] static Version look_at(const std::string& file) noexcept;

  std::map<std::string, Version> files_;
};

}  // namespace starttls
