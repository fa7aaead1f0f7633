#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace starttls {

/// An address to listen on or to connect to. It is a TCP port of a host, or a unix socket, or a
/// name under which the process has inherited sockets.
struct Address {
  /// A name, or an IP literal without brackets. A link-local literal includes its interface
  /// ("fe80::1%eth0"). "" for the other kinds of address.
  std::string host;
  std::uint16_t port = 0;
  std::string path;  ///< unix socket; "" for the other kinds
  /// Only for listening: the name under which a supervisor passes sockets that already listen.
  /// Their addresses are known when the process starts.
  std::string inherited{};

  [[nodiscard]] bool is_unix() const noexcept { return !path.empty(); }
  [[nodiscard]] bool is_inherited() const noexcept { return !inherited.empty(); }
  friend bool operator==(const Address&, const Address&) = default;
};

/// Returns the host of an address without the interface of a link-local one. Only this machine
/// knows the interface.
[[nodiscard]] inline std::string_view without_interface(std::string_view host) noexcept {
  return host.substr(0, host.find('%'));
}

/// Returns the address as a configuration writes it: "127.0.0.1:25", "[::1]:25",
/// "unix:/run/x.sock", "systemd:smtp".
[[nodiscard]] inline std::string to_string(const Address& address) {
  if (address.is_unix()) return "unix:" + address.path;
  if (address.is_inherited()) return "systemd:" + address.inherited;
  const bool v6 = address.host.find(':') != std::string::npos;
  return (v6 ? "[" + address.host + "]" : address.host) + ":" + std::to_string(address.port);
}

}  // namespace starttls
