#include "proxy/login_files.h"

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <system_error>

#include <fcntl.h>
#include <sys/stat.h>

#include "lib/base/ascii.h"
#include "lib/base/descriptor.h"
#include "lib/base/kept_secret.h"

namespace starttls {
namespace {

/// True if the file may come later.
bool is_missing(int error) noexcept {
  return error == ENOENT || error == ENOTDIR;
}

/// Returns what is wrong with a file; "" if nothing is, or if it is missing.
std::string file_fault(const std::string& path) {
  const Descriptor file{::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK)};
  struct ::stat status = {};
  if (file.get() < 0 || ::fstat(file.get(), &status) != 0) {
    return is_missing(errno) ? "" : std::generic_category().message(errno);
  }
  const auto kept = check_kept_secret(status);
  return kept ? "" : kept.error().reason;
}

std::string missing_file_warning(const std::string& file) {
  return "logins fail until the file of their secret is there: " + ascii::escape(file);
}

}  // namespace

std::vector<std::string> login_files(const config::Service& service) {
  std::vector<std::string> files;
  const auto add = [&files](const config::SecretSource& source) {
    if (source.file.empty()) return;
    if (std::find(files.begin(), files.end(), source.file) == files.end()) {
      files.push_back(source.file);
    }
  };
  if (service.login) add(service.login->source);
  for (const auto& account : service.accounts) add(account.source);
  return files;
}

void check_login_files(const config::Config& config, const config::Places& places,
                       config::Problems& problems) {
  const auto check = [&](const config::ValueName& name, const std::string& path) {
    if (path.empty()) return;
    const auto fault = file_fault(path);
    if (!fault.empty()) {
      problems.push_back(places.problem(name, places.shown(name, path) + ": " + fault));
    }
  };
  for (std::size_t i = 0; i < config.services.size(); ++i) {
    const auto& service = config.services[i];
    if (service.login) check({i, "service.login.file"}, service.login->source.file);
    for (std::size_t row = 0; row < service.accounts.size(); ++row) {
      check({i, "service.account.file", row}, service.accounts[row].source.file);
    }
  }
}

std::vector<std::string> login_file_warnings(const config::Service& service) {
  std::vector<std::string> found;
  for (const auto& file : login_files(service)) {
    struct ::stat status = {};
    if (::stat(file.c_str(), &status) == 0 || !is_missing(errno)) continue;
    found.push_back(missing_file_warning(file));
  }
  return found;
}

}  // namespace starttls
