#include "lib/config/exposure.h"

#include <algorithm>

namespace starttls::config {
namespace {

/// True for the protocols that hand mail to a server that may send it on (S1).
bool relays_mail(const std::string& protocol) noexcept {
  return protocol == "smtp" || protocol == "lmtp";
}

/// True if clients act under our own certificate at the server (S2).
bool lends_certificate(const Upstream& upstream) noexcept {
  return !upstream.certificate.chain.empty();
}

/// True if every account by which clients use the proxy's secret asks them for a password.
bool passwords_protect_secret(const Service& service) noexcept {
  if (service.login->when != LoginWhen::client) return false;
  return std::all_of(service.accounts.begin(), service.accounts.end(), [&](const Account& each) {
    return !uses_proxy_secret(*service.login, each) || !each.password->empty();
  });
}

/// True for networks that a person can look over, such as a site. Anything wider is likely there
/// to let everyone in.
bool is_narrow(const Network& network) noexcept {
  constexpr unsigned kWidestV4 = 16;
  constexpr unsigned kWidestV6 = 48;
  return network.prefix >= (is_v4(network) ? kMappedBits + kWidestV4 : kWidestV6);
}

}  // namespace

bool lends_secret(const Service& service) noexcept {
  if (!service.login) return false;
  const auto& login = *service.login;
  if (login.when == LoginWhen::connect) return login.source.is_set();
  return std::any_of(service.accounts.begin(), service.accounts.end(),
                     [&login](const Account& each) { return uses_proxy_secret(login, each); });
}

bool is_secret_fenced(const Service& service) noexcept {
  const auto& down = service.downstream;
  return passwords_protect_secret(service) || !down.client_ca.empty() ||
         (!down.allow.empty() && wide_network(down) == nullptr);
}

const Network* wide_network(const Downstream& downstream) noexcept {
  const auto& allow = downstream.allow;
  const auto wide = std::find_if_not(allow.begin(), allow.end(), is_narrow);
  return wide == allow.end() ? nullptr : &*wide;
}

Exposure exposure(const Service& service) noexcept {
  const auto& down = service.downstream;
  const auto& up = service.upstream;
  if (lends_secret(service) && !is_secret_fenced(service)) return Exposure::secret;
  if (!down.allow.empty()) return Exposure::none;
  if (down.tls == TlsMode::none || down.tls == TlsMode::opportunistic) return Exposure::clear_text;
  if (!down.client_ca.empty()) return Exposure::none;
  if (lends_certificate(up)) return Exposure::certificate;
  if (lends_secret(service)) return Exposure::accounts;
  const bool server_knows_client = up.send_proxy != SendProxy::no || up.from_client;
  return relays_mail(service.protocol) && !server_knows_client ? Exposure::relay : Exposure::none;
}

bool is_exposed_at(const Address& address, const Service& service, Exposure risk) noexcept {
  if (risk == Exposure::none) return false;
  const bool balancer = risk == Exposure::secret && !service.downstream.proxy_protocol.empty();
  return !is_local(address) || (balancer && !address.is_unix());
}

std::string exposure_error(Exposure exposure, const std::string& where, Spelling spelling) {
  const bool flags = spelling == Spelling::flags;
  const std::string start = "any client that reaches " + where + " could ";
  const std::string allow =
      std::string(": name the allowed clients with ") +
      (flags ? "--allow 192.168.1.0/24" : "downstream.allow = [\"192.168.1.0/24\"]");
  const std::string everyone = flags ? " (everyone: --allow 0.0.0.0/0 --allow ::/0)"
                                     : " (everyone: [\"0.0.0.0/0\", \"::/0\"])";
  const std::string client_ca = flags ? "--client-ca" : "downstream.client_ca";
  switch (exposure) {
    case Exposure::none:
      return {};
    case Exposure::clear_text:
      return start + "use this service" + allow;
    case Exposure::secret:
      return start +
             "use the proxy's secret at the server ([service.login]): give each "
             "[[service.account]] a password, or name few clients with downstream.allow = "
             "[\"192.168.1.0/24\"] (no network wider than /16, IPv6 /48), or set " +
             client_ca;
    case Exposure::accounts:
      return start + "try passwords of [[service.account]]" + allow + everyone + ", or set " +
             client_ca;
    case Exposure::certificate:
      return start + "use our certificate at the server (" +
             (flags ? "--upstream-chain" : "upstream.certificate") + ")" + allow + everyone +
             ", or set " + client_ca;
    case Exposure::relay:
      return start +
             "send mail through this service, and the server would take it for this machine's" +
             allow + everyone + ", or set " + client_ca + ", " +
             (flags ? "--send-proxy or --source" : "upstream.send_proxy or upstream.source");
  }
  return {};
}

}  // namespace starttls::config
