#include "lib/session/service.h"

#include <algorithm>
#include <utility>

#include "lib/session/policy.h"

namespace starttls::session {
namespace {

tls::Version version_of(config::MinTls version) noexcept {
  switch (version) {
    case config::MinTls::tls1_0:
      return tls::Version::tls1_0;
    case config::MinTls::tls1_1:
      return tls::Version::tls1_1;
    case config::MinTls::tls1_2:
      return tls::Version::tls1_2;
    case config::MinTls::tls1_3:
      return tls::Version::tls1_3;
  }
  return tls::Version::tls1_3;
}

tls::Verification verification_of(config::Verify verify) noexcept {
  switch (verify) {
    case config::Verify::full:
      return tls::Verification::full;
    case config::Verify::none:
      return tls::Verification::none;
  }
  return tls::Verification::full;
}

tls::ClientOptions client_options(const config::Upstream& upstream,
                                  tls::RecordCodecChoice record_codec) {
  tls::ClientOptions options{.verification = verification_of(upstream.verify),
                             .ca_file = upstream.ca_file,
                             .pins = upstream.pins,
                             .min_version = version_of(upstream.min_tls),
                             .record_codec = record_codec};
  const auto& [chain, key] = upstream.certificate;
  if (!chain.empty()) options.certificate = tls::ChainAndKey{chain, key};
  return options;
}

tls::ServerOptions server_options(const config::Downstream& downstream,
                                  const proto::Protocol& protocol,
                                  tls::RecordCodecChoice record_codec) {
  tls::ServerOptions options{.client_ca = downstream.client_ca,
                             .ticket_keys = downstream.ticket_keys,
                             .min_version = version_of(downstream.min_tls),
                             .record_codec = record_codec};
  for (const auto& [chain, key] : downstream.certificates) {
    options.certificates.push_back({chain, key});
  }
  for (auto ids = protocol.alpn; !ids.empty();) {
    const auto id = ids.substr(0, ids.find(' '));
    options.alpn.emplace_back(id);
    ids.remove_prefix(std::min(id.size() + 1, ids.size()));
  }
  return options;
}

/// Whether sessions made under `old` may be resumed under `now`, as far as the configuration says;
/// what files say is the context's to compare.
bool may_share_sessions(const config::Service& now, const config::Service& old) {
  return now.name == old.name && now.protocol == old.protocol &&
         now.upstream.tls == old.upstream.tls &&
         now.upstream.server_name == old.upstream.server_name && uses_tls(old.upstream.tls);
}

}  // namespace

Result<std::shared_ptr<const Service>> make_service(const config::Service& config,
                                                    const Common& common, const Service* previous) {
  auto service = std::make_shared<Service>();
  service->config = config;
  service->hostname = common.hostname;
  service->protocol = proto::find_protocol(config.protocol);
  const auto failed = [&config](const std::string& reason, std::string evidence = {}) {
    return fail(Errc::config, "service " + config.name + ": " + reason, std::move(evidence));
  };
  if (service->protocol == nullptr) return failed("unknown protocol " + config.protocol);
  if (uses_tls(config.upstream.tls)) {
    auto context = tls::Context::client(client_options(config.upstream, common.record_codec));
    if (!context) return failed(context.error().reason, context.error().evidence);
    service->upstream_tls = std::move(*context);
    if (previous != nullptr && may_share_sessions(config, previous->config) &&
        previous->upstream_tls->same_policy(*service->upstream_tls)) {
      service->upstream_tls = previous->upstream_tls;
    }
  }
  if (uses_tls(config.downstream.tls)) {
    auto context = tls::Context::server(
        server_options(config.downstream, *service->protocol, common.record_codec));
    if (!context) return failed(context.error().reason, context.error().evidence);
    service->downstream_tls = std::move(*context);
  }
  return service;
}

}  // namespace starttls::session
