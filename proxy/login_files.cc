#include "proxy/login_files.h"

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <system_error>
#include <utility>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

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

std::string missing_socket_warning(const std::string& socket) {
  return "logins fail until the socket of their secret is there: " + ascii::escape(socket);
}

std::string missing_program_warning(const std::string& program) {
  return "logins fail until the program of their secret is there: " + ascii::escape(program);
}

/// Returns why a program cannot be the one of a secret; "" if nothing is wrong, or if it is
/// missing. The program sees the account's secret, so no other user may replace it.
std::string program_fault(const std::string& path) {
  struct ::stat status = {};
  if (::stat(path.c_str(), &status) != 0) {
    return is_missing(errno) ? "" : std::generic_category().message(errno);
  }
  if (!S_ISREG(status.st_mode)) return "not a regular file";
  if (status.st_uid != 0 && status.st_uid != ::geteuid()) {
    return "this program belongs to another user, which can change it: it must be root's, or that "
           "of the proxy's user";
  }
  const bool by_group = (status.st_mode & S_IWGRP) != 0 && status.st_gid != 0;
  if (by_group || (status.st_mode & S_IWOTH) != 0) {
    return "others can change this program: take their right to write away (chmod go-w)";
  }
  if (::faccessat(AT_FDCWD, path.c_str(), X_OK, AT_EACCESS) != 0) {
    return std::generic_category().message(errno);
  }
  return "";
}

/// True if nothing has this path yet.
bool is_missing(const std::string& path) noexcept {
  struct ::stat status = {};
  return ::stat(path.c_str(), &status) != 0 && is_missing(errno);
}

/// Returns the sources of a service's secrets.
std::vector<const config::SecretSource*> sources_of(const config::Service& service) {
  std::vector<const config::SecretSource*> all;
  if (service.login) all.push_back(&service.login->source);
  for (const auto& account : service.accounts) all.push_back(&account.source);
  return all;
}

/// Returns the paths that `path_of` finds in the sources of a service, each once.
template <class PathOf>
std::vector<std::string> paths_in(const config::Service& service, PathOf path_of) {
  std::vector<std::string> paths;
  for (const auto* const source : sources_of(service)) {
    auto path = path_of(*source);
    if (path.empty() || std::find(paths.begin(), paths.end(), path) != paths.end()) continue;
    paths.push_back(std::move(path));
  }
  return paths;
}

std::string program_of(const config::SecretSource& source) {
  return source.command.empty() ? std::string{} : source.command.front();
}

}  // namespace

std::vector<std::string> login_files(const config::Service& service) {
  return paths_in(service, [](const config::SecretSource& source) { return source.file; });
}

bool has_login_files(const config::Service& service) noexcept {
  const auto is_checked = [](const config::SecretSource& source) {
    return !source.file.empty() || !source.command.empty();
  };
  return (service.login && is_checked(service.login->source)) ||
         std::any_of(service.accounts.begin(), service.accounts.end(),
                     [&](const config::Account& each) { return is_checked(each.source); });
}

void check_login_files(const config::Config& config, const config::Places& places,
                       config::Problems& problems) {
  const auto check = [&](const config::ValueName& name, const std::string& path, auto fault_of) {
    if (path.empty()) return;
    const auto fault = fault_of(path);
    if (!fault.empty()) {
      problems.push_back(places.problem(name, places.shown(name, path) + ": " + fault));
    }
  };
  for (std::size_t i = 0; i < config.services.size(); ++i) {
    const auto& service = config.services[i];
    if (service.login) {
      const auto& source = service.login->source;
      check({i, "service.login.file"}, source.file, file_fault);
      check({i, "service.login.command"}, program_of(source), program_fault);
    }
    for (std::size_t row = 0; row < service.accounts.size(); ++row) {
      const auto& source = service.accounts[row].source;
      check({i, "service.account.file", row}, source.file, file_fault);
      check({i, "service.account.command", row}, program_of(source), program_fault);
    }
  }
}

std::vector<std::string> login_file_warnings(const config::Service& service) {
  std::vector<std::string> found;
  const auto add = [&found](const std::vector<std::string>& paths, auto* missing_warning) {
    for (const auto& path : paths) {
      if (is_missing(path)) found.push_back(missing_warning(path));
    }
  };
  add(login_files(service), missing_file_warning);
  add(paths_in(service, [](const config::SecretSource& source) { return source.socket; }),
      missing_socket_warning);
  add(paths_in(service, program_of), missing_program_warning);
  return found;
}

}  // namespace starttls
