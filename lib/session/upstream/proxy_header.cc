#include "lib/session/upstream/proxy_header.h"

#include <optional>

#include "lib/net/address.h"
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
  return net::ip_endpoint(client.stream().local());
}

void add_tls(Leg& client, proto::ProxyFacts& out) {
  using Certificate = proto::ProxyTls::ClientCertificate;
  const tls::Facts facts = client.facts();
  const tls::ClientFacts& seen = client.client_facts();
  const auto verified = facts.resumed ? Certificate::session : Certificate::connection;
  out.tls = proto::ProxyTls{.version = facts.version,
                            .cipher = seen.cipher,
                            .certificate = seen.has_certificate ? verified : Certificate::none,
                            .common_name = seen.common_name};
  out.server_name = seen.server_name;
  out.alpn = seen.alpn;
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
