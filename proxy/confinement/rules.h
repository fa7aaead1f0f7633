#pragma once

// What the process may still do once it serves: decided here, without a system call; performed by
// sandbox.h and user.h.

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "lib/config/config.h"

namespace starttls {

/// What stays possible with a file, or with a folder and all beneath it.
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

/// Paths are absolute.
struct FilesInUse {
  std::vector<std::string> read;     ///< configuration, certificates, keys: again at each reload
  std::string log;                   ///< "" = standard error, which is open
  bool log_is_device = false;        ///< or a pipe: not made anew when it is reopened
  std::vector<std::string> sockets;  ///< unix sockets that are listened on
};

/// Where a symlink leads, as it is written; nothing where `path` is none.
using ReadLink = std::function<std::optional<std::string>(const std::string& path)>;

/// The files that a running proxy needs, those of the system's resolver included. Of what is read
/// again the folders are allowed, for a file that is replaced is another one to the kernel; and
/// those behind symlinks, link by link, for these are swapped. "/" is never allowed, so of a file
/// there only the present one is.
[[nodiscard]] std::vector<FileRule> file_rules(const FilesInUse& files, const ReadLink& read_link);

/// A set of capabilities: bit N is capability number N (linux/capability.h).
using Capabilities = std::uint64_t;

/// Those that are kept if the process has them: CAP_NET_ADMIN to use addresses of others and
/// CAP_NET_BIND_SERVICE to listen on ports below 1024, if the configuration does either, so that a
/// reload may. Never those that override file permissions: all of /etc is within reach.
[[nodiscard]] Capabilities capabilities_to_keep(const config::Config& config);

}  // namespace starttls
