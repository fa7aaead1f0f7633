#include "proxy/admin/content.h"

#include <cstdint>
#include <string_view>

#include <nlohmann/json.hpp>

namespace starttls {
std::vector<std::string> obstacles(bool draining, const std::vector<CertificateInUse>& certificates,
                                   UnixTime now) {
  std::vector<std::string> found;
  if (draining) found.emplace_back("draining");
  for (const auto& each : certificates) {
    for (const auto& finding : look_at(each, now)) {
      if (!finding.is_error()) continue;
      found.push_back("service " + each.service + ": " + finding.sentence(each.file));
    }
  }
  return found;
}

AdminResponse verdict(std::string_view word, const std::vector<std::string>& obstacles) {
  if (obstacles.empty()) return {.body = std::string(word) + "\n"};
  AdminResponse response{.status = HttpStatus::unavailable};
  for (const auto& each : obstacles)
    response.body.append("not ").append(word).append(": " + each + "\n");
  return response;
}

AdminResponse to_json(const Listing& listing) {
  using Json = nlohmann::ordered_json;
  Json sessions = Json::array();
  for (const auto& each : listing.sessions) {
    const auto seconds = std::chrono::duration<double>(each.age);
    sessions.push_back(Json{{"session", each.session},
                            {"service", each.service},
                            {"client", each.client},
                            {"server", each.server},
                            {"downstream_tls", each.downstream_tls},
                            {"downstream_group", each.downstream_group},
                            {"upstream_tls", each.upstream_tls},
                            {"upstream_group", each.upstream_group},
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
  // The name of a unix socket may hold any bytes.
  return {.content = AdminResponse::Content::json,
          .body = page.dump(1, ' ', true, Json::error_handler_t::replace) + "\n"};
}

}  // namespace starttls
