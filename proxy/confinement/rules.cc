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

/// Folders that /etc/resolv.conf leads to if a service of the system writes it. It may become such
/// a link at any time: a network manager is installed, or a VPN starts.
constexpr std::string_view kResolverFolders[] = {"/run/systemd/resolve", "/run/NetworkManager",
                                                 "/run/resolvconf", "/run/netconfig",
                                                 "/run/connman"};
constexpr std::string_view kRun = "/run";

/// The rule for a folder that is not there yet.
enum class IfMissing : std::uint8_t { nothing, allow_parent };

class Rules {
 public:
  explicit Rules(const FileSystem& system) : system_(system) {}

  void add(std::string path, FileUse use) {
    FileRule rule{std::move(path), use};
    if (std::find(all_.begin(), all_.end(), rule) == all_.end()) all_.push_back(std::move(rule));
  }

  /// Adds the folder of `file`, and the folders on the way to the file that it leads to.
  void add_folders(const std::string& file, FileUse use) {
    add_folder(fs::path(file).lexically_normal(), use);
    add_folders_on_the_way(file, use);
  }

  void add_folders_on_the_way(const std::string& file, FileUse use,
                              IfMissing if_missing = IfMissing::nothing) {
    fs::path current = "/";
    const fs::path start = fs::path(file).lexically_normal().relative_path();
    std::deque<fs::path> rest(start.begin(), start.end());
    for (int links = 0; !rest.empty();) {
      const fs::path next = (current / rest.front()).lexically_normal();
      rest.pop_front();
      const auto link = system_.read_link(next.string());
      if (!link) {
        current = next;
        continue;
      }
      if (++links > kMaxLinks) return;
      const fs::path target = (current / *link).lexically_normal();
      if (target.has_filename() && target.parent_path() != target.root_path()) {
        add_folder(target, use, if_missing);
      }
      const fs::path parts = target.relative_path();
      rest.insert(rest.begin(), parts.begin(), parts.end());
      current = "/";
    }
    if (current != fs::path(file).lexically_normal()) add_folder(current, use, if_missing);
  }

  /// Returns the folder or, if it is not there yet, the nearest one above it that is.
  [[nodiscard]] fs::path nearest(fs::path folder) const {
    while (folder.has_relative_path() && !system_.exists(folder.string())) {
      folder = folder.parent_path();
    }
    return folder;
  }

  [[nodiscard]] std::vector<FileRule> take() { return std::move(all_); }

 private:
  void add_folder(const fs::path& file, FileUse use, IfMissing if_missing = IfMissing::nothing) {
    fs::path folder = file.parent_path();
    if (folder == folder.root_path()) {
      add(file.string(), use);
      return;
    }
    if (if_missing == IfMissing::allow_parent) folder = nearest(std::move(folder));
    if (folder.has_relative_path()) add(folder.string(), use);
  }

  const FileSystem& system_;
  std::vector<FileRule> all_;
};

constexpr Capabilities bit(int capability) noexcept {
  return Capabilities{1} << static_cast<unsigned>(capability);
}

}  // namespace

std::vector<FileRule> file_rules(const FilesInUse& files, const FileSystem& system) {
  Rules rules(system);
  rules.add("/dev/null", FileUse::device);
  for (const auto file : kSystemFiles) rules.add(std::string(file), FileUse::read);

  // By folder: a DHCP client, a VPN or an editor replaces these files. Threads that serve sessions
  // give even this up (see give_up_files).
  rules.add("/etc", FileUse::read);
  // The kernel cannot allow a folder that does not exist yet (early in the boot, for example). The
  // nearest folder above it is allowed instead. All of /run is allowed only if a link leads to a
  // missing folder in it now: no name could be resolved until a restart otherwise. The permissions
  // of the files there still hold.
  for (const auto file : kResolverFiles) {
    rules.add_folders_on_the_way(std::string(file), FileUse::read, IfMissing::allow_parent);
  }
  // Without such a link /run stays closed. A resolver that makes its folder there later, and then
  // the link, makes a restart necessary. That is rare, and /run has files of many other services.
  for (const auto folder : kResolverFolders) {
    const auto nearest = rules.nearest(folder);
    if (nearest.has_relative_path() && nearest != kRun) rules.add(nearest.string(), FileUse::read);
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
