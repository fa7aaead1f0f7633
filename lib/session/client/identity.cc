#include "lib/session/client/identity.h"

#include <utility>

#include "lib/session/policy.h"

namespace starttls::session {
namespace {

/// True if a PROXY header of this peer is believed. Its address decides, never its bytes.
bool may_send_header(const config::Downstream& downstream,
                     const std::optional<IpEndpoint>& address) {
  return address && config::contains(downstream.proxy_protocol, mapped_bytes(*address));
}

}  // namespace

ClientIdentity::ClientIdentity(const config::Service& settings, const net::SocketAddress& peer)
    : address_(net::ip_endpoint(peer)), is_local_(peer.storage.ss_family == AF_UNIX) {
  const auto& downstream = settings.downstream;
  if (downstream.proxy_protocol.empty() &&
      (downstream.tls == TlsMode::implicit ||
       (relays_from_first_byte(downstream.tls, settings.upstream.tls) &&
        settings.destinations.empty()))) {
    return;
  }
  watch_ = std::make_unique<Watch>();
  if (may_send_header(downstream, address_)) {
    watch_->header = std::make_unique<proto::ProxyHeaderReader>();
  }
}

Result<std::size_t> ClientIdentity::look(std::string_view bytes) {
  std::size_t consumed = 0;
  if (awaits_header()) {
    const auto step = watch_->header->feed(bytes);
    if (!step) return fail(Errc::not_allowed, step.error().reason, step.error().evidence);
    consumed = step->consumed;
    if (!step->header) return consumed;
    switch (step->header->origin) {
      case proto::ProxyHeader::Origin::relayed:
        address_ = step->header->client;
        destination_ = step->header->destination;
        break;
      case proto::ProxyHeader::Origin::unknown:
        break;  // the connection's own addresses hold
      case proto::ProxyHeader::Origin::local:
        is_balancers_own_ = true;
        break;
    }
    watch_->header.reset();
    watch_->is_second = true;
  }
  if (watch_ == nullptr) return consumed;
  const auto rest = bytes.substr(consumed);
  switch (watch_->unwanted.feed(rest)) {
    case proto::ProxySignature::maybe:
      break;
    case proto::ProxySignature::no:
      watch_.reset();
      break;
    case proto::ProxySignature::yes:
      // The error has none of the client's bytes: what looks like a header may be a login.
      return fail(Errc::not_allowed, watch_->is_second
                                         ? "the connection has a second PROXY header"
                                         : "your address may not send a PROXY header");
  }
  return consumed;
}

Result<> ClientIdentity::check(const config::Downstream& settings) const {
  // The permissions of a unix socket decide which clients may use it.
  if (settings.allow.empty() || is_local_ || is_balancers_own_) return {};
  if (address_ && config::contains(settings.allow, mapped_bytes(*address_))) return {};
  return fail(Errc::not_allowed, "your address may not use this service");
}

}  // namespace starttls::session
