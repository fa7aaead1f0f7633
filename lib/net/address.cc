#include "lib/net/address.h"

#include <array>
#include <cstring>

#include <arpa/inet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sys/un.h>
#include <unistd.h>
#include <uv.h>

#include "lib/base/ascii.h"

namespace starttls::net {
namespace {

/// Returns "%eth0" for a link-local address, "" for others.
std::string interface_of(const sockaddr_in6& address) {
  if (address.sin6_scope_id == 0) return {};
  std::array<char, IF_NAMESIZE> name{};
  if (::if_indextoname(address.sin6_scope_id, name.data()) == nullptr) {
    return "%" + std::to_string(address.sin6_scope_id);
  }
  return "%" + std::string{name.data()};
}

/// Returns the interface's number. If no interface has that name, returns a number that none has.
std::uint32_t interface_number(const std::string& name) {
  if (const auto number = ::if_nametoindex(name.c_str()); number != 0) return number;
  const auto number = ascii::parse_number(name);
  return number && *number > 0 && *number <= INT32_MAX ? static_cast<std::uint32_t>(*number)
                                                       : UINT32_MAX;
}

}  // namespace

std::string to_string(const SocketAddress& address) {
  std::array<char, INET6_ADDRSTRLEN> text{};
  switch (address.storage.ss_family) {
    case AF_INET: {
      const auto* v4 = reinterpret_cast<const sockaddr_in*>(&address.storage);
      inet_ntop(AF_INET, &v4->sin_addr, text.data(), text.size());
      return std::string{text.data()} + ":" + std::to_string(ntohs(v4->sin_port));
    }
    case AF_INET6: {
      const auto* v6 = reinterpret_cast<const sockaddr_in6*>(&address.storage);
      inet_ntop(AF_INET6, &v6->sin6_addr, text.data(), text.size());
      return "[" + std::string{text.data()} + interface_of(*v6) +
             "]:" + std::to_string(ntohs(v6->sin6_port));
    }
    case AF_UNIX: {
      const auto* local = reinterpret_cast<const sockaddr_un*>(&address.storage);
      const auto header = offsetof(sockaddr_un, sun_path);
      const auto size = address.size > header ? address.size - header : 0;
      // Abstract: there is no file, and the name ends only with its size (unix(7)).
      if (size > 1 && local->sun_path[0] == '\0') {
        return "unix:@" + ascii::escape({local->sun_path + 1, size - 1});
      }
      return "unix:" + std::string{local->sun_path, strnlen(local->sun_path, size)};
    }
    default:
      return "unknown";
  }
}

std::optional<std::array<std::uint8_t, 16>> ip_bytes(const SocketAddress& address) noexcept {
  switch (address.storage.ss_family) {
    case AF_INET: {
      std::array<std::uint8_t, 4> v4{};
      std::memcpy(v4.data(), &reinterpret_cast<const sockaddr_in*>(&address.storage)->sin_addr,
                  v4.size());
      return mapped(v4);
    }
    case AF_INET6: {
      std::array<std::uint8_t, 16> v6{};
      std::memcpy(v6.data(), &reinterpret_cast<const sockaddr_in6*>(&address.storage)->sin6_addr,
                  v6.size());
      return v6;
    }
    default:
      return std::nullopt;
  }
}

std::optional<IpEndpoint> ip_endpoint(const SocketAddress& address) noexcept {
  const auto bytes = ip_bytes(address);
  if (!bytes) return std::nullopt;
  return starttls::unmapped(
      {.family = IpEndpoint::Family::v6, .bytes = *bytes, .port = port_of(address)});
}

SocketAddress socket_address(const IpEndpoint& endpoint) noexcept {
  SocketAddress out;
  if (endpoint.family == IpEndpoint::Family::v4) {
    auto* v4 = reinterpret_cast<sockaddr_in*>(&out.storage);
    v4->sin_family = AF_INET;
    v4->sin_port = htons(endpoint.port);
    std::memcpy(&v4->sin_addr, endpoint.bytes.data(), sizeof(v4->sin_addr));
    out.size = sizeof(sockaddr_in);
  } else {
    auto* v6 = reinterpret_cast<sockaddr_in6*>(&out.storage);
    v6->sin6_family = AF_INET6;
    v6->sin6_port = htons(endpoint.port);
    std::memcpy(&v6->sin6_addr, endpoint.bytes.data(), sizeof(v6->sin6_addr));
    out.size = sizeof(sockaddr_in6);
  }
  return out;
}

std::uint16_t port_of(const SocketAddress& address) noexcept {
  switch (address.storage.ss_family) {
    case AF_INET:
      return ntohs(reinterpret_cast<const sockaddr_in*>(&address.storage)->sin_port);
    case AF_INET6:
      return ntohs(reinterpret_cast<const sockaddr_in6*>(&address.storage)->sin6_port);
    default:
      return 0;
  }
}

SocketAddress with_port(SocketAddress address, std::uint16_t port) noexcept {
  if (address.storage.ss_family == AF_INET) {
    reinterpret_cast<sockaddr_in*>(&address.storage)->sin_port = htons(port);
  } else {
    reinterpret_cast<sockaddr_in6*>(&address.storage)->sin6_port = htons(port);
  }
  return address;
}

Address ip_address(const SocketAddress& address) {
  std::string host = to_string(address);
  host.resize(host.rfind(':'));
  if (host.starts_with('[')) host = host.substr(1, host.size() - 2);
  return {.host = std::move(host), .port = port_of(address), .path = {}};
}

SocketAddress local_address(int socket) noexcept {
  SocketAddress address;
  address.size = sizeof(address.storage);
  if (::getsockname(socket, address.get(), &address.size) != 0) return {};
  return address;
}

SocketAddress unmapped(const SocketAddress& address) noexcept {
  if (address.storage.ss_family != AF_INET6) return address;
  const auto* v6 = reinterpret_cast<const sockaddr_in6*>(&address.storage);
  if (!IN6_IS_ADDR_V4MAPPED(&v6->sin6_addr)) return address;
  SocketAddress out;
  auto* v4 = reinterpret_cast<sockaddr_in*>(&out.storage);
  v4->sin_family = AF_INET;
  v4->sin_port = v6->sin6_port;
  std::memcpy(&v4->sin_addr, &v6->sin6_addr.s6_addr[12], sizeof(v4->sin_addr));
  out.size = sizeof(sockaddr_in);
  return out;
}

Result<SocketAddress> parse_ip(const std::string& host, std::uint16_t port) {
  SocketAddress out;
  if (uv_ip4_addr(host.c_str(), port, reinterpret_cast<sockaddr_in*>(&out.storage)) == 0) {
    out.size = sizeof(sockaddr_in);
    return out;
  }
  const std::string literal{without_interface(host)};
  auto* v6 = reinterpret_cast<sockaddr_in6*>(&out.storage);
  if (uv_ip6_addr(literal.c_str(), port, v6) == 0) {
    if (literal.size() < host.size()) {
      v6->sin6_scope_id = interface_number(host.substr(literal.size() + 1));
    }
    out.size = sizeof(sockaddr_in6);
    return out;
  }
  return fail(Errc::config, host + " is not an IP address");
}

std::string error_text(int uv_status) {
  return uv_strerror(uv_status);
}

std::string kernel_hostname() {
  std::array<char, 256> name{};
  return ::gethostname(name.data(), name.size() - 1) == 0 ? name.data() : "";
}

std::string address_literal() {
  std::string out = "[127.0.0.1]";
  uv_interface_address_t* interfaces = nullptr;
  int count = 0;
  if (uv_interface_addresses(&interfaces, &count) != 0) return out;
  for (int i = 0; i < count; ++i) {
    const auto& one = interfaces[i];
    if (one.is_internal != 0 || one.address.address4.sin_family != AF_INET) continue;
    std::array<char, INET_ADDRSTRLEN> text{};
    uv_ip4_name(&one.address.address4, text.data(), text.size());
    out = "[" + std::string{text.data()} + "]";
    break;
  }
  uv_free_interface_addresses(interfaces, count);
  return out;
}

}  // namespace starttls::net
