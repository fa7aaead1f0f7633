#include "proxy/log_file.h"

#include <cerrno>
#include <filesystem>
#include <system_error>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

namespace starttls {
namespace {

tl::unexpected<Error> failure(int number) {
  return fail(Errc::config, std::generic_category().message(number));
}

/// Checks the rights of the effective user, which opens files, and not those of the user that
/// started the process.
Result<> may(const std::string& path, int mode) {
  if (::faccessat(AT_FDCWD, path.c_str(), mode, AT_EACCESS) != 0) return failure(errno);
  return {};
}

}  // namespace

Result<> check_log_file(const std::string& file) {
  struct stat status = {};
  if (::stat(file.c_str(), &status) == 0) {
    return S_ISDIR(status.st_mode) ? failure(EISDIR) : may(file, W_OK);
  }
  if (errno != ENOENT) return failure(errno);
  // Opening a dangling symlink creates its target, even in another folder.
  if (::lstat(file.c_str(), &status) == 0) return {};
  return may(std::filesystem::path(file).parent_path().string(), W_OK | X_OK);
}

}  // namespace starttls
