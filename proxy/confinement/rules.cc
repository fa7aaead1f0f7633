#include "proxy/confinement/rules.h"

#include <algorithm>
#include <deque>
#include <filesystem>
#include <string_view>

#include <linux/capability.h>

namespace starttls {
namespace {

namespace fs = std::filesystem;

/// The kernel's limit: a path with more links leads nowhere.
constexpr int kMaxLinks = 40;

/// Libraries that are loaded late (an unwinder, character sets), and files that malloc and the TLS
/// library read.
constexpr std::string_view kSystemFiles[] = {
    "/lib",        "/lib32",         "/lib64",           "/usr/lib",   "/usr/lib32",
    "/usr/lib64",  "/usr/local/lib", "/etc/ld.so.cache", "/proc/self", "/sys/devices/system/cpu",
    "/dev/urandom"};

constexpr std::string_view kResolverFiles[] = {
    "/etc/resolv.conf", "/etc/hosts",    "/etc/nsswitch.conf", "/etc/host.conf",
    "/etc/gai.conf",    "/etc/services", "/etc/protocols",     "/etc/networks"};

class Rules {
 public:
  explicit Rules(const ReadLink& read_link) : read_link_(read_link) {}

  void add(std::string path, FileUse use) {
    FileRule rule{std::move(path), use};
    if (std::find(all_.begin(), all_.end(), rule) == all_.end()) all_.push_back(std::move(rule));
  }

  /// Adds the folder of `file`, and the folders on the way to the file that it leads to.
  void add_folders(const std::string& file, FileUse use) {
    add_folder(fs::path(file).lexically_normal(), use);
    add_folders_on_the_way(file, use);
  }

  void add_folders_on_the_way(const std::string& file, FileUse use) {
    fs::path current = "/";
    const fs::path start = fs::path(file).lexically_normal().relative_path();
    std::deque<fs::path> rest(start.begin(), start.end());
    for (int links = 0; !rest.empty();) {
      const fs::path next = (current / rest.front()).lexically_normal();
      rest.pop_front();
      const auto link = read_link_(next.string());
      if (!link) {
        current = next;
        continue;
      }
      if (++links > kMaxLinks) return;
      const fs::path target = (current / *link).lexically_normal();
      if (target.has_filename() && target.parent_path() != target.root_path()) {
        add_folder(target, use);
      }
      const fs::path parts = target.relative_path();
      rest.insert(rest.begin(), parts.begin(), parts.end());
      current = "/";
    }
    if (current != fs::path(file).lexically_normal()) add_folder(current, use);
  }

  [[nodiscard]] std::vector<FileRule> take() { return std::move(all_); }

 private:
  void add_folder(const fs::path& file, FileUse use) {
    const fs::path folder = file.parent_path();
    add((folder == folder.root_path() ? file : folder).string(), use);
  }

  const ReadLink& read_link_;
  std::vector<FileRule> all_;
};

constexpr Capabilities bit(int capability) noexcept {
  return Capabilities{1} << static_cast<unsigned>(capability);
}

}  // namespace

std::vector<FileRule> file_rules(const FilesInUse& files, const ReadLink& read_link) {
  Rules rules(read_link);
  rules.add("/dev/null", FileUse::device);
  for (const auto file : kSystemFiles) rules.add(std::string(file), FileUse::read);

  // By folder: a DHCP client, a VPN or an editor replaces these files. Threads that serve sessions
  // give even this up (see give_up_files).
  rules.add("/etc", FileUse::read);
  for (const auto file : kResolverFiles) {
    rules.add_folders_on_the_way(std::string(file), FileUse::read);
  }

  for (const auto& file : files.read) rules.add_folders(file, FileUse::read);
  if (files.log_is_device) {
    rules.add(files.log, FileUse::device);
  } else if (!files.log.empty()) {
    rules.add_folders(files.log, FileUse::append);
  }
  for (const auto& socket : files.sockets) rules.add_folders(socket, FileUse::socket);
  return rules.take();
}

Capabilities capabilities_to_keep(const config::Config& config) {
  constexpr int kFirstFreePort = 1024;
  Capabilities kept = 0;
  for (const auto& service : config.services) {
    if (service.upstream.from_client) kept |= bit(CAP_NET_ADMIN);
    for (const auto& address : service.listen) {
      // An inherited socket needs no capability: its supervisor has prepared it for all that it
      // must accept.
      if (address.is_inherited()) continue;
      if (service.upstream.original_destination && !config::is_local(address)) {
        kept |= bit(CAP_NET_ADMIN);
      }
      if (address.port != 0 && address.port < kFirstFreePort) kept |= bit(CAP_NET_BIND_SERVICE);
    }
  }
  const auto& admin = config.admin.listen;
  if (admin && admin->port != 0 && admin->port < kFirstFreePort) kept |= bit(CAP_NET_BIND_SERVICE);
  return kept;
}

}  // namespace starttls
