#include "lib/session/upstream/proxy_header.h"

#include <optional>
#include <utility>

#include "lib/net/address.h"
#include "lib/net/original_destination.h"
#include "lib/proto/proxy_header.h"

namespace starttls::session {
namespace {

std::optional<IpEndpoint> dialled(const Target& target, const ClientIdentity& identity,
                                  Leg& client) {
  if (identity.destination()) return identity.destination();
  if (const Address* meant = target.original_destination()) {
    const auto address = net::parse_ip(meant->host, meant->port);
    if (address) return net::ip_endpoint(*address);
  }
  return net::ip_endpoint(net::local_address(client.stream()));
}

void add_tls(Leg& client, proto::ProxyFacts& out) {
  using Certificate = proto::ProxyTls::ClientCertificate;
  const tls::Facts facts = client.facts();
  tls::ClientFacts told = client.take_client_facts();
  const auto verified = facts.resumed ? Certificate::session : Certificate::connection;
  out.tls = proto::ProxyTls{.version = facts.version,
                            .cipher = std::move(told.cipher),
                            .certificate = told.has_certificate ? verified : Certificate::none,
                            .common_name = std::move(told.common_name)};
  out.server_name = std::move(told.server_name);
  out.alpn = std::move(told.alpn);
}

}  // namespace

std::string proxy_header(const Target& target, const ClientIdentity& identity, Leg& client) {
  proto::ProxyFacts facts{.client = identity.address(),
                          .destination = dialled(target, identity, client)};
  if (target.upstream().send_proxy == config::SendProxy::v1) return proto::write_proxy_v1(facts);
  if (client.secured()) add_tls(client, facts);
  return proto::write_proxy_v2(facts);
}

}  // namespace starttls::session
