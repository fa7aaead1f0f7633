#include "proxy/admin_text.h"

#include <cstdint>
#include <string_view>

#include <nlohmann/json.hpp>

#include "lib/base/utc.h"
#include "lib/tls/context.h"

namespace starttls {
namespace {

std::string as_text(UnixTime time) {
  return utc(time, "%Y-%m-%d %H:%M:%S UTC");
}

void add(std::vector<CertificateInUse>& all, const std::string& service, metrics::Leg leg,
         const std::shared_ptr<const tls::Context>& context) {
  if (context == nullptr) return;
  for (const auto& own : context->own_certificates()) {
    all.push_back({service, leg, own.chain, own.not_before, own.not_after});
  }
}

}  // namespace

std::vector<CertificateInUse> certificates_of(const Services& services) {
  std::vector<CertificateInUse> all;
  for (const auto& service : services) {
    add(all, service->config.name, metrics::Leg::downstream, service->downstream_tls);
    add(all, service->config.name, metrics::Leg::upstream, service->upstream_tls);
  }
  return all;
}

std::vector<std::string> obstacles(bool draining, const std::vector<CertificateInUse>& certificates,
                                   UnixTime now) {
  std::vector<std::string> found;
  if (draining) found.emplace_back("draining");
  for (const auto& each : certificates) {
    const std::string what = "service " + each.service + ": the certificate in " + each.file;
    if (now < each.not_before) found.push_back(what + " is valid from " + as_text(each.not_before));
    if (now > each.not_after) found.push_back(what + " has expired on " + as_text(each.not_after));
  }
  return found;
}

proto::AdminResponse verdict(std::string_view word, const std::vector<std::string>& obstacles) {
  if (obstacles.empty()) return {.body = std::string(word) + "\n"};
  proto::AdminResponse response{.status = proto::HttpStatus::unavailable};
  for (const auto& each : obstacles)
    response.body.append("not ").append(word).append(": " + each + "\n");
  return response;
}

proto::AdminResponse to_json(const Listing& listing) {
  using Json = nlohmann::ordered_json;
  Json sessions = Json::array();
  for (const auto& each : listing.sessions) {
    const auto seconds = std::chrono::duration<double>(each.age);
    sessions.push_back(Json{{"session", each.session},
                            {"service", each.service},
                            {"client", each.client},
                            {"server", each.server},
                            {"downstream_tls", each.downstream_tls},
                            {"upstream_tls", each.upstream_tls},
                            {"phase", each.phase},
                            {"state", each.state},
                            {"seconds", seconds.count()},
                            {"bytes_to_server", each.bytes_to_server},
                            {"bytes_to_client", each.bytes_to_client}});
  }
  const Json page{{"open", listing.open},
                  {"listed", listing.sessions.size()},
                  {"complete", listing.complete},
                  {"sessions", std::move(sessions)}};
  // The name of a unix socket may hold any octets.
  return {.content = proto::AdminResponse::Content::json,
          .body = page.dump(1, ' ', true, Json::error_handler_t::replace) + "\n"};
}

}  // namespace starttls
