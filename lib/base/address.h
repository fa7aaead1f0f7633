#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace starttls {

/// Where to listen or to connect: a TCP port of a host, or a unix socket; or the sockets that the
/// process has inherited under a name.
struct Address {
  /// A name, or an IP literal without brackets, a link-local one with its interface
  /// ("fe80::1%eth0"); "" for all others.
  std::string host;
  std::uint16_t port = 0;
  std::string path;  ///< unix socket; "" for all others
  /// To listen only: the name under which a supervisor passes sockets that listen already; where
  /// they do is known when the process starts.
  std::string inherited{};

  [[nodiscard]] bool is_unix() const noexcept { return !path.empty(); }
  [[nodiscard]] bool is_inherited() const noexcept { return !inherited.empty(); }
  friend bool operator==(const Address&, const Address&) = default;
};

/// The host of an address without the interface of a link-local one, which is known only here.
[[nodiscard]] inline std::string_view without_interface(std::string_view host) noexcept {
  return host.substr(0, host.find('%'));
}

/// As it is written in a configuration: "127.0.0.1:25", "[::1]:25", "unix:/run/x.sock",
/// "systemd:smtp".
[[nodiscard]] inline std::string to_string(const Address& address) {
  if (address.is_unix()) return "unix:" + address.path;
  if (address.is_inherited()) return "systemd:" + address.inherited;
  const bool v6 = address.host.find(':') != std::string::npos;
  return (v6 ? "[" + address.host + "]" : address.host) + ":" + std::to_string(address.port);
}

}  // namespace starttls
