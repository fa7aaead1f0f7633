#include "lib/config/config.h"

namespace starttls::config {

Upstream upstream_at(const Upstream& service, const Destination& destination) {
  Upstream upstream = service;
  if (destination.tls) upstream.tls = *destination.tls;
  if (destination.verify) upstream.verify = *destination.verify;
  if (destination.server_name) upstream.server_name = *destination.server_name;
  if (destination.pins) upstream.pins = *destination.pins;
  return upstream;
}

std::optional<std::size_t> most_specific(std::span<const Destination> destinations,
                                         std::span<const std::uint8_t, 16> address) noexcept {
  std::optional<std::size_t> best;
  unsigned longest = 0;
  for (std::size_t i = 0; i < destinations.size(); ++i) {
    for (const auto& network : destinations[i].networks) {
      if (!contains(network, address)) continue;
      if (best && network.prefix <= longest) continue;
      best = i;
      longest = network.prefix;
    }
  }
  return best;
}

SecretSource source_of(const Login& login, const Account& account) {
  SecretSource source = account.source.is_set() ? account.source : login.source;
  source.token = source.is_fetched() && account.token.value_or(login.source.token);
  return source;
}

const std::string& user_of(const Login& login, const Account& account) noexcept {
  return account.user.empty() ? login.user : account.user;
}

const std::string& fixed_user_of(const Login& login, const Account& account) noexcept {
  const auto& user = user_of(login, account);
  return user.empty() && account.name != kAnyAccount ? account.name : user;
}

bool uses_proxy_secret(const Login& login, const Account& account) noexcept {
  return account.password.has_value() && (account.source.is_set() || login.source.is_set());
}

bool proves_server(const Upstream& upstream) noexcept {
  const bool always_tls = upstream.tls == TlsMode::starttls || upstream.tls == TlsMode::implicit;
  return always_tls && (upstream.verify == Verification::full || !upstream.pins.empty());
}

bool lacks_name(const Upstream& upstream) noexcept {
  return upstream.tls != TlsMode::none && upstream.verify == Verification::full &&
         upstream.server_name.empty();
}

std::string peer_name(const Upstream& upstream, const Address& address) {
  std::string peer = upstream.server_name.empty() ? std::string(without_interface(address.host))
                                                  : upstream.server_name;
  if (peer.ends_with('.')) peer.pop_back();
  return peer;
}

}  // namespace starttls::config
