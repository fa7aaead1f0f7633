#include "lib/config/exposure.h"

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

}  // namespace

Exposure exposure(const Service& service) noexcept {
  const auto& down = service.downstream;
  const auto& up = service.upstream;
  if (!down.allow.empty()) return Exposure::none;
  if (down.tls == TlsMode::none || down.tls == TlsMode::opportunistic) return Exposure::clear_text;
  if (!down.client_ca.empty()) return Exposure::none;
  if (lends_certificate(up)) return Exposure::certificate;
  const bool server_knows_client = up.send_proxy != SendProxy::no || up.from_client;
  return relays_mail(service.protocol) && !server_knows_client ? Exposure::relay : Exposure::none;
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
