#include "lib/config/mistakes.h"

#include <algorithm>
#include <utility>

namespace starttls::config {
namespace {

constexpr std::uint16_t kImplicitPorts[] = {465, 563, 993, 995};  // RFC 8314, RFC 8143
constexpr std::uint16_t kStarttlsPorts[] = {25, 110, 119, 143, 587};

/// Returns 127.0.0.0/8 or ::1.
const Network& loopback(bool v4) {
  static const Network kV4 = *parse_network("127.0.0.0/8");
  static const Network kV6 = *parse_network("::1");
  return v4 ? kV4 : kV6;
}

bool is_within(const Network& inner, const Network& outer) {
  return inner.prefix >= outer.prefix &&
         contains(outer, std::span<const std::uint8_t, 16>(inner.bytes));
}

/// True if a client of `allowed` can have a connection to a listener at `listen`.
bool can_reach(const Network& allowed, const Address& listen) {
  const bool v4 = listen.host.find(':') == std::string::npos;
  if (is_v4(allowed) != v4) return false;
  const Network& local = loopback(v4);
  if (is_local(listen)) return is_within(allowed, local) || is_within(local, allowed);
  const bool all = listen.host == "0.0.0.0" || listen.host == "::";
  return all || !is_within(allowed, local);
}

}  // namespace

std::string port_mistake(TlsMode tls, const Address& address) {
  if (address.is_unix() || address.is_inherited()) return {};
  const auto is_one_of = [&address](const auto& ports) {
    return std::find(std::begin(ports), std::end(ports), address.port) != std::end(ports);
  };
  const std::string port = "port " + std::to_string(address.port);
  switch (tls) {
    case TlsMode::none:
      return {};
    case TlsMode::opportunistic:
    case TlsMode::starttls:
      if (!is_one_of(kImplicitPorts)) return {};
      return port + " is for TLS from the first byte";
    case TlsMode::implicit:
      if (!is_one_of(kStarttlsPorts)) return {};
      return port + " is for STARTTLS";
  }
  return {};
}

std::vector<std::string> likely_mistakes(const Service& service, Spelling spelling) {
  std::vector<std::string> found;
  const bool flags = spelling == Spelling::flags;
  const auto ports = [&found, flags](TlsMode tls, const std::vector<Address>& addresses,
                                     std::string_view leg) {
    for (const auto& address : addresses) {
      const auto mistake = port_mistake(tls, address);
      if (mistake.empty()) continue;
      const auto* const mode = tls == TlsMode::implicit ? "starttls" : "implicit";
      const std::string setting =
          flags ? "--" + std::string(leg) + "-tls " : std::string(leg) + ".tls = ";
      std::string text = to_string(address) + ": " + mistake;
      text += "; did you mean " + setting + mode + "?";
      found.push_back(std::move(text));
    }
  };
  ports(service.downstream.tls, service.listen, "downstream");
  ports(service.upstream.tls, service.upstream.address, "upstream");

  const auto& allow = service.downstream.allow;
  // A balancer may name a client of any address, so `allow` excludes nothing here.
  if (allow.empty() || !service.downstream.proxy_protocol.empty()) return found;
  for (const auto& listen : service.listen) {
    if (listen.is_unix() || listen.is_inherited()) continue;
    if (std::any_of(allow.begin(), allow.end(),
                    [&listen](const Network& each) { return can_reach(each, listen); })) {
      continue;
    }
    found.push_back("no client in " + std::string(flags ? "--allow" : "downstream.allow") +
                    " can reach " + to_string(listen));
  }
  return found;
}

}  // namespace starttls::config
