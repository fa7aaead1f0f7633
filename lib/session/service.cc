#include "lib/session/service.h"

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

}  // namespace

Result<std::shared_ptr<const Service>> make_service(const config::Service& config,
                                                    const std::string& hostname) {
  auto service = std::make_shared<Service>();
  service->config = config;
  service->hostname = hostname;
  service->protocol = proto::find_protocol(config.protocol);
  if (service->protocol == nullptr) {
    return fail(Errc::config, "service " + config.name + ": unknown protocol " + config.protocol);
  }
  if (uses_tls(config.upstream.tls)) {
    auto context = tls::Context::client({.verification = verification_of(config.upstream.verify),
                                         .ca_file = config.upstream.ca_file,
                                         .min_version = version_of(config.upstream.min_tls)});
    if (!context) {
      return fail(Errc::config, "service " + config.name + ": " + context.error().reason,
                  context.error().evidence);
    }
    service->upstream_tls = std::move(*context);
  }
  if (uses_tls(config.downstream.tls)) {
    tls::ServerOptions options;
    for (const auto& [chain, key] : config.downstream.certificates) {
      options.certificates.push_back({chain, key});
    }
    auto context = tls::Context::server(options);
    if (!context) {
      return fail(Errc::config, "service " + config.name + ": " + context.error().reason,
                  context.error().evidence);
    }
    service->downstream_tls = std::move(*context);
  }
  return service;
}

}  // namespace starttls::session
