#include "proxy/confinement/confine.h"

#include <cerrno>
#include <filesystem>
#include <system_error>
#include <utility>

#include <fmt/format.h>
#include <unistd.h>

#include "lib/tls/context.h"
#include "proxy/config_files.h"
#include "proxy/confinement/rules.h"
#include "proxy/confinement/sandbox.h"
#include "proxy/login_files.h"

namespace starttls {
namespace {

FilesInUse files_in_use(const std::string& config_file, const config::Config& config) {
  FilesInUse files;
  files.read = files_to_read(config_file, config);
  // By folder, like all of them: a new token replaces the file.
  for (const auto& service : config.services) {
    const auto secrets = login_files(service);
    files.read.insert(files.read.end(), secrets.begin(), secrets.end());
  }
  // A reload may add a service that uses it.
  if (const auto store = tls::system_trust_store(); !store.empty()) files.read.push_back(store);
  std::error_code ignored;
  const auto log = std::filesystem::status(config.log.file, ignored);
  files.log = config.log.file;
  files.log_is_device = std::filesystem::exists(log) && !std::filesystem::is_regular_file(log);
  for (const auto& service : config.services) {
    for (const auto& address : service.listen) {
      if (address.is_unix()) files.sockets.push_back(address.path);
    }
  }
  const auto& admin = config.admin.listen;
  if (admin && admin->is_unix()) files.sockets.push_back(admin->path);
  return files;
}

std::optional<std::string> read_link(const std::string& path) {
  std::error_code error;
  auto target = std::filesystem::read_symlink(path, error);
  if (error) return std::nullopt;
  return target.string();
}

bool exists(const std::string& path) {
  std::error_code ignored;
  return std::filesystem::exists(path, ignored);
}

}  // namespace

Result<> confine(const std::string& config_file, const config::Config& config,
                 const std::optional<User>& user, log::Logger& log) {
  const auto kept = capabilities_to_keep(config);
  if (user) {
    if (auto became = become(*user, kept); !became) return became;
    log.info("changed user", {{"user", user->name}});
  } else if (config.proxy.sandbox) {
    if (auto limited = keep_capabilities(kept); !limited) return limited;
  }
  for (const auto& file : files_to_read(config_file, config)) {
    if (::access(file.c_str(), R_OK) == 0) continue;
    log.warn("a reload will fail: this user cannot read the file",
             {{"user", user ? user->name : std::to_string(::geteuid())}, {"file", file}});
  }
  for (const auto& service : config.services) {
    for (const auto& file : login_files(service)) {
      if (::access(file.c_str(), R_OK) == 0 || errno != EACCES) continue;
      log.warn("logins will fail: this user cannot read the file",
               {{"user", user ? user->name : std::to_string(::geteuid())}, {"file", file}});
    }
  }
  if (!config.proxy.sandbox) return forbid_core_files();
  auto lacking = enter_sandbox(file_rules(files_in_use(config_file, config), {read_link, exists}));
  if (!lacking) return fail(std::move(lacking.error()));
  if (!lacking->empty()) {
    log.warn(kSandboxIncomplete, {{"lacking", fmt::format("{}", fmt::join(*lacking, ", "))}});
  }
  return {};
}

Result<std::vector<std::string>> confine_probe(const config::Config& config) {
  if (!config.proxy.sandbox) {
    if (auto forbidden = forbid_core_files(); !forbidden) return fail(std::move(forbidden.error()));
    return {};
  }
  if (auto limited = keep_capabilities(capabilities_to_keep(config)); !limited) {
    return fail(std::move(limited.error()));
  }
  return enter_sandbox(file_rules({}, {read_link, exists}));
}

}  // namespace starttls
