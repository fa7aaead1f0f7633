#include "proxy/admin/status.h"

#include <algorithm>

#include "lib/base/address.h"
#include "lib/session/policy.h"

namespace starttls {
namespace {

constexpr std::string_view kServiceStates[] = {"serving", "draining", "not_ready"};
constexpr std::string_view kOwners[] = {"proxy", "server"};
constexpr std::string_view kCertificateStates[] = {"valid", "ends_soon", "expired",
                                                   "not_yet_valid"};

std::vector<std::string> texts_of(const std::vector<Address>& addresses) {
  std::vector<std::string> texts;
  texts.reserve(addresses.size());
  for (const auto& each : addresses) texts.push_back(to_string(each));
  return texts;
}

std::string_view verification_of(const config::Upstream& upstream) noexcept {
  if (!session::uses_tls(upstream.tls)) return "";
  if (upstream.verify == Verification::full) return "full";
  return upstream.pins.empty() ? "none" : "pin";
}

CertificateStatus::State state_of(const CertificateInUse& certificate, UnixTime now) {
  using Kind = CertificateFinding::Kind;
  for (const auto& finding : look_at(certificate, now)) {
    switch (finding.kind) {
      case Kind::not_yet_valid:
        return CertificateStatus::State::not_yet_valid;
      case Kind::expired:
        return CertificateStatus::State::expired;
      case Kind::ends_soon:
        return CertificateStatus::State::ends_soon;
      case Kind::weak_key:
        break;
    }
  }
  return CertificateStatus::State::valid;
}

CertificateStatus::State state_of_server(UnixTime not_after, UnixTime now) noexcept {
  if (now > not_after) return CertificateStatus::State::expired;
  const bool soon = not_after.since_1970 - now.since_1970 <= kServerRenewal;
  return soon ? CertificateStatus::State::ends_soon : CertificateStatus::State::valid;
}

bool is_refused(CertificateStatus::State state) noexcept {
  return state == CertificateStatus::State::expired ||
         state == CertificateStatus::State::not_yet_valid;
}

ServiceStatus::State state_of(const std::shared_ptr<const session::Service>& service, bool draining,
                              UnixTime now) {
  if (draining) return ServiceStatus::State::draining;
  const auto ours = certificates_of({service});
  const bool refused = std::any_of(ours.begin(), ours.end(), [now](const auto& each) {
    return is_refused(state_of(each, now));
  });
  return refused ? ServiceStatus::State::not_ready : ServiceStatus::State::serving;
}

}  // namespace

std::string_view name(ServiceStatus::State state) noexcept {
  return kServiceStates[static_cast<std::size_t>(state)];
}

std::string_view name(CertificateStatus::Owner owner) noexcept {
  return kOwners[static_cast<std::size_t>(owner)];
}

std::string_view name(CertificateStatus::State state) noexcept {
  return kCertificateStates[static_cast<std::size_t>(state)];
}

std::vector<ServiceStatus> services_status(const Services& services, bool draining, UnixTime now) {
  std::vector<ServiceStatus> all;
  all.reserve(services.size());
  for (const auto& service : services) {
    const auto& config = service->config;
    all.push_back({.name = config.name,
                   .protocol = config.protocol,
                   .listen = texts_of(config.listen),
                   .servers = texts_of(config.upstream.address),
                   .downstream_tls = config.downstream.tls,
                   .upstream_tls = config.upstream.tls,
                   .verify = verification_of(config.upstream),
                   .state = state_of(service, draining, now),
                   .sessions = service->metrics->session_counts()});
  }
  return all;
}

std::vector<CertificateStatus> certificates_status(
    const std::vector<CertificateInUse>& ours,
    const std::vector<metrics::ServerCertificateExpiry>& of_servers, UnixTime now) {
  std::vector<CertificateStatus> all;
  all.reserve(ours.size() + of_servers.size());
  for (const auto& each : ours) {
    all.push_back({CertificateStatus::Owner::proxy, each.service, each.side, each.file,
                   each.not_after, state_of(each, now)});
  }
  for (const auto& each : of_servers) {
    all.push_back({CertificateStatus::Owner::server, each.service, Side::upstream, each.server,
                   each.not_after, state_of_server(each.not_after, now)});
  }
  std::stable_sort(all.begin(), all.end(),
                   [](const auto& a, const auto& b) { return a.not_after < b.not_after; });
  return all;
}

metrics::SessionCounts all_sessions(const Status& status) noexcept {
  metrics::SessionCounts sum;
  for (const auto& service : status.services) {
    sum.open += service.sessions.open;
    for (std::size_t i = 0; i < sum.ended.size(); ++i) sum.ended[i] += service.sessions.ended[i];
  }
  return sum;
}

std::string_view overall(const Status& status) noexcept {
  if (status.draining) return "draining";
  return status.obstacles.empty() ? "ready" : "not ready";
}

}  // namespace starttls
