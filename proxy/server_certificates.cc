#include "proxy/server_certificates.h"

#include <algorithm>
#include <string>
#include <utility>

#include "lib/base/address.h"

namespace starttls {
namespace {

bool names_server(const config::Upstream& upstream, const std::string& server) {
  return upstream.original_destination ||
         std::any_of(upstream.address.begin(), upstream.address.end(),
                     [&server](const Address& each) { return to_string(each) == server; });
}

}  // namespace

std::vector<metrics::ServerCertificateExpiry> server_certificates_of(const Services& services) {
  std::vector<metrics::ServerCertificateExpiry> all;
  for (const auto& service : services) {
    for (auto& [server, not_after] : service->metrics->server_certificates().all()) {
      if (!names_server(service->config.upstream, server)) continue;
      all.push_back({service->config.name, std::move(server), not_after});
    }
  }
  return all;
}

}  // namespace starttls
