#include "proxy/admin/status_json.h"

#include <algorithm>

#include <nlohmann/json.hpp>

namespace starttls {
namespace {

using Json = nlohmann::ordered_json;

/// Returns the outcomes that have happened, with their counts.
Json outcomes(const metrics::SessionCounts& sessions) {
  Json all = Json::object();
  for (std::size_t i = 0; i < sessions.ended.size(); ++i) {
    if (sessions.ended[i] > 0) all[std::string(Outcome::kNames[i])] = sessions.ended[i];
  }
  return all;
}

Json as_json(const metrics::SessionCounts& sessions) {
  return {{"open", sessions.open}, {"ended", outcomes(sessions)}};
}

Json as_json(const ServiceStatus& service) {
  return {{"name", service.name},
          {"protocol", service.protocol},
          {"state", name(service.state)},
          {"listen", service.listen},
          {"servers", service.servers},
          {"downstream_tls", name(service.downstream_tls)},
          {"upstream_tls", name(service.upstream_tls)},
          {"verify", service.verify},
          {"sessions", as_json(service.sessions)}};
}

Json as_json(const CertificateStatus& certificate, UnixTime now) {
  return {{"owner", name(certificate.owner)},
          {"service", certificate.service},
          {"leg", name(certificate.leg)},
          {"name", certificate.name},
          {"not_after", rfc3339(certificate.not_after)},
          {"days_left", days_until(certificate.not_after, now)},
          {"state", name(certificate.state)}};
}

Json as_json(const RecentFailures::Entry& failure) {
  return {{"time", rfc3339(failure.at)},           {"service", failure.last.service},
          {"outcome", name(failure.last.outcome)}, {"reason", failure.last.reason},
          {"session", failure.last.session},       {"times", failure.times}};
}

}  // namespace

AdminResponse status_json(const Status& status) {
  Json services = Json::array();
  Json certificates = Json::array();
  Json failures = Json::array();
  for (std::size_t i = 0; i < std::min(status.services.size(), kMaxStatusRows); ++i) {
    services.push_back(as_json(status.services[i]));
  }
  for (std::size_t i = 0; i < std::min(status.certificates.size(), kMaxStatusRows); ++i) {
    certificates.push_back(as_json(status.certificates[i], status.now));
  }
  for (const auto& each : status.failures) failures.push_back(as_json(each));
  const bool complete = services.size() == status.services.size() &&
                        certificates.size() == status.certificates.size();
  const Json page{{"format", kStatusFormat},
                  {"version", status.version},
                  {"host", status.host},
                  {"time", rfc3339(status.now)},
                  {"started", rfc3339(status.started)},
                  {"configuration",
                   {{"loaded", rfc3339(status.loaded)},
                    {"last_reload_successful", status.last_reload_successful}}},
                  {"state", overall(status)},
                  {"obstacles", status.obstacles},
                  {"complete", complete},
                  {"sessions", as_json(all_sessions(status))},
                  {"services", std::move(services)},
                  {"certificates", std::move(certificates)},
                  {"failures", std::move(failures)}};
  // A path or a server's words may hold any bytes.
  return {.content = AdminResponse::Content::json,
          .body = page.dump(1, ' ', true, Json::error_handler_t::replace) + "\n"};
}

}  // namespace starttls
