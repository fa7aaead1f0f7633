#pragma once

#include <cstdint>
#include <string>

namespace starttls {

/// Where to listen or to connect: a TCP port of a host, or a unix socket.
struct Address {
  std::string host;  ///< a name, or an IP literal without brackets; "" for a unix socket
  std::uint16_t port = 0;
  std::string path;  ///< unix socket; "" for TCP

  [[nodiscard]] bool is_unix() const noexcept { return !path.empty(); }
  friend bool operator==(const Address&, const Address&) = default;
};

/// As it is written in a configuration: "127.0.0.1:25", "[::1]:25", "unix:/run/x.sock".
[[nodiscard]] inline std::string to_string(const Address& address) {
  if (address.is_unix()) return "unix:" + address.path;
  const bool v6 = address.host.find(':') != std::string::npos;
  return (v6 ? "[" + address.host + "]" : address.host) + ":" + std::to_string(address.port);
}

}  // namespace starttls
