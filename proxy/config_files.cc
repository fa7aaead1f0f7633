#include "proxy/config_files.h"

#include <algorithm>
#include <filesystem>
#include <system_error>

#include "lib/base/tls_mode.h"
#include "lib/tls/context.h"

namespace starttls {

std::vector<std::string> watched_files(const config::Config& config) {
  std::vector<std::string> files;
  const auto add = [&files](const std::string& file) {
    if (!file.empty() && std::find(files.begin(), files.end(), file) == files.end()) {
      files.push_back(file);
    }
  };
  for (const auto& service : config.services) {
    const auto& down = service.downstream;
    const auto& up = service.upstream;
    for (const auto& [chain, key] : down.certificates) {
      add(chain);
      add(key);
    }
    add(down.client_ca);
    add(down.ticket_keys);
    add(up.certificate.chain);
    add(up.certificate.key);
    const auto verified = [](const config::Upstream& upstream) {
      return upstream.tls != TlsMode::none && upstream.verify == Verification::full;
    };
    const auto& rows = service.destinations;
    if (verified(up) || std::any_of(rows.begin(), rows.end(), [&](const auto& row) {
          return verified(config::upstream_at(up, row));
        }))
      add(up.ca_file.empty() ? tls::system_trust_store() : up.ca_file);
  }
  return files;
}

std::vector<std::string> files_to_read(const std::string& config_file,
                                       const config::Config& config) {
  auto files = watched_files(config);
  // Even if it is not used today: a reload may turn verification on.
  for (const auto& service : config.services) {
    if (!service.upstream.ca_file.empty()) files.push_back(service.upstream.ca_file);
  }
  files.insert(files.end(), config.secret_files.begin(), config.secret_files.end());
  if (!config_file.empty()) files.push_back(config_file);
  for (auto& file : files) {
    std::error_code ignored;
    if (const auto path = std::filesystem::absolute(file, ignored); !path.empty()) {
      file = path.string();
    }
  }
  return files;
}

}  // namespace starttls
