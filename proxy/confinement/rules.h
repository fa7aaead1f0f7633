#pragma once

// Decides what the process may still do once it serves. There is no system call here; sandbox.h and
// user.h carry the decisions out.

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "lib/config/config.h"

namespace starttls {

/// A use that stays possible for a file, or for a folder and everything below it.
enum class FileUse : std::uint8_t {
  read,    ///< names and content
  device,  ///< reading and writing what is there
  append,  ///< writing files, and making new ones
  socket,  ///< making and removing unix sockets
};

struct FileRule {
  std::string path;
  FileUse use = FileUse::read;

  friend bool operator==(const FileRule&, const FileRule&) = default;
};

/// The files that a process uses. Paths are absolute.
struct FilesInUse {
  std::vector<std::string> read;     ///< configuration, certificates, keys: again at each reload
  std::string log;                   ///< "" = standard error, which is open
  bool log_is_device = false;        ///< or a pipe: reopening does not create it
  std::vector<std::string> sockets;  ///< unix sockets that are listened on
};

/// The facts of a file system that the rules depend on.
struct FileSystem {
  /// Returns the target of a symlink, as it is written; nothing if `path` is no symlink.
  std::function<std::optional<std::string>(const std::string& path)> read_link;
  std::function<bool(const std::string& path)> exists;
};

/// Returns rules for the files that a running proxy needs, those of the system's resolver included.
/// For files that are read again, the folders are allowed, because to the kernel a replaced file is
/// another file. The folders that symlinks lead to are allowed too, link by link, because symlinks
/// are swapped. "/" is never allowed. So a file in "/" is allowed in its present version only.
[[nodiscard]] std::vector<FileRule> file_rules(const FilesInUse& files, const FileSystem& system);

/// A set of capabilities: bit N is capability number N (linux/capability.h).
using Capabilities = std::uint64_t;

/// Returns the capabilities that are kept if the process has them. These are CAP_NET_ADMIN to use
/// addresses of others, and CAP_NET_BIND_SERVICE to listen on ports below 1024. Each is kept only
/// if the configuration uses it, so that a reload may use it too. Capabilities that override file
/// permissions are never kept, since all of /etc is within reach.
[[nodiscard]] Capabilities capabilities_to_keep(const config::Config& config);

}  // namespace starttls
