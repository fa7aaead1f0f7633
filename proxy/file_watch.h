#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace starttls {

/// Tells when files have changed: rewritten, replaced, or behind a symlink that now leads
/// elsewhere, as Kubernetes swaps its secrets. It looks when asked, since inotify follows no
/// symlink and says nothing of network file systems.
class FileWatch {
 public:
  using Clock = std::chrono::system_clock;

  /// Watches these from now on. What was read of them was read after `since`: a file that is new
  /// here and was written later than that has changed already. One that is missing changes when it
  /// comes.
  void follow(const std::vector<std::string>& files, Clock::time_point since);

  /// Whether anything has changed since the last look.
  [[nodiscard]] bool changed();

 private:
  /// What no two versions of a file have in common.
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
