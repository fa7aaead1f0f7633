#include "lib/session/service.h"

#include <algorithm>
#include <utility>

#include "lib/session/policy.h"

namespace starttls::session {
namespace {

tls::ClientOptions client_options(const config::Upstream& upstream, const Common& common) {
  tls::ClientOptions options{.verification = upstream.verify,
                             .ca_file = upstream.ca_file,
                             .pins = upstream.pins,
                             .min_version = upstream.min_tls,
                             .record_codec = common.record_codec,
                             .record_cipher = common.record_cipher,
                             .post_quantum = upstream.post_quantum};
  if (!upstream.certificate.chain.empty()) options.certificate = upstream.certificate;
  return options;
}

tls::ServerOptions server_options(const config::Downstream& downstream,
                                  const proto::Protocol& protocol, const Common& common) {
  tls::ServerOptions options{.certificates = downstream.certificates,
                             .client_ca = downstream.client_ca,
                             .ticket_keys = downstream.ticket_keys,
                             .min_version = downstream.min_tls,
                             .record_codec = common.record_codec,
                             .record_cipher = common.record_cipher};
  for (auto ids = protocol.alpn; !ids.empty();) {
    const auto id = ids.substr(0, ids.find(' '));
    options.alpn.emplace_back(id);
    ids.remove_prefix(std::min(id.size() + 1, ids.size()));
  }
  return options;
}

/// True if the configuration lets sessions made under `old` be resumed under `now`. The context
/// compares the contents of files.
bool may_share_sessions(const config::Service& now, const config::Service& old) {
  return now.name == old.name && now.protocol == old.protocol &&
         now.upstream.tls == old.upstream.tls &&
         now.upstream.server_name == old.upstream.server_name && uses_tls(old.upstream.tls);
}

/// True if one context may serve both. Server names may differ, because a context keeps sessions by
/// name.
bool may_share_context(const config::Upstream& a, const config::Upstream& b) {
  return a.tls == b.tls && a.verify == b.verify && a.pins == b.pins;
}

/// Returns the rows' policies, with as few contexts as there are ways to verify.
Result<std::vector<ServerPolicy>> make_destinations(const Service& service, const Common& common,
                                                    const Service* previous) {
  const auto& config = service.config;
  // If all rows are the same as before, a row's sessions may be resumed, as far as files allow.
  const bool same_rows = previous != nullptr && may_share_sessions(config, previous->config) &&
                         config.destinations == previous->config.destinations;
  std::vector<ServerPolicy> policies;
  for (std::size_t row = 0; row < config.destinations.size(); ++row) {
    ServerPolicy policy{config::upstream_at(config.upstream, config.destinations[row]), nullptr};
    const auto alike =
        std::find_if(policies.begin(), policies.end(), [&policy](const ServerPolicy& each) {
          return may_share_context(each.settings, policy.settings);
        });
    if (!uses_tls(policy.settings.tls)) {
      // Nothing to verify.
    } else if (may_share_context(config.upstream, policy.settings)) {
      policy.tls = service.upstream_tls;
    } else if (alike != policies.end()) {
      policy.tls = alike->tls;
    } else {
      auto context = tls::Context::client(client_options(policy.settings, common));
      if (!context) return fail(std::move(context.error()));
      policy.tls = std::move(*context);
      if (same_rows && previous->destinations[row].tls->same_policy(*policy.tls)) {
        policy.tls = previous->destinations[row].tls;
      }
    }
    policies.push_back(std::move(policy));
  }
  return policies;
}

}  // namespace

Result<std::shared_ptr<const Service>> make_service(const config::Service& config,
                                                    const Common& common, const Service* previous) {
  auto service = std::make_shared<Service>();
  service->config = config;
  service->own_name = common.own_name;
  service->protocol = proto::find_protocol(config.protocol);
  const auto failed = [&config](const std::string& reason, std::string evidence = {}) {
    return fail(Errc::config, "service " + config.name + ": " + reason, std::move(evidence));
  };
  if (service->protocol == nullptr) return failed("unknown protocol " + config.protocol);
  service->metrics = common.metrics != nullptr ? common.metrics->service(config.name)
                                               : std::make_shared<metrics::Service>(1);
  if (uses_tls(config.upstream.tls)) {
    auto context = tls::Context::client(client_options(config.upstream, common));
    if (!context) return failed(context.error().reason, context.error().evidence);
    service->upstream_tls = std::move(*context);
    if (previous != nullptr && may_share_sessions(config, previous->config) &&
        previous->upstream_tls->same_policy(*service->upstream_tls)) {
      service->upstream_tls = previous->upstream_tls;
    }
  }
  if (config.login) service->accounts = std::make_shared<const Accounts>(config);
  auto destinations = make_destinations(*service, common, previous);
  if (!destinations) return failed(destinations.error().reason, destinations.error().evidence);
  service->destinations = std::move(*destinations);
  if (uses_tls(config.downstream.tls)) {
    auto context =
        tls::Context::server(server_options(config.downstream, *service->protocol, common));
    if (!context) return failed(context.error().reason, context.error().evidence);
    service->downstream_tls = std::move(*context);
  }
  return service;
}

}  // namespace starttls::session
