#include "lib/net/original_destination.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <memory>
#include <random>
#include <system_error>

#include <ifaddrs.h>
#include <netinet/in.h>
#include <sys/socket.h>

namespace starttls::net {
namespace {

// linux/netfilter_ipv4.h and linux/netfilter_ipv6/ip6_tables.h cannot be included together with
// netinet/in.h. Both options have the same number.
constexpr int kOriginalDestination = 80;

// Ports for connections from a client's address. The client itself believes that it has connections
// to the same server. So these ports must differ from any that it chooses: Linux begins at 32768,
// Windows and BSD at 49152, and old devices at 1024.
constexpr std::uint16_t kFirstPort = 16384;
constexpr std::uint16_t kLastPort = 32767;
constexpr int kMaxBinds = 100;

SocketAddress of_generic(const sockaddr* generic) {
  SocketAddress out;
  out.size = generic->sa_family == AF_INET6 ? sizeof(sockaddr_in6) : sizeof(sockaddr_in);
  std::memcpy(&out.storage, generic, out.size);
  return out;
}

tl::unexpected<Error> lacking(const char* what) {
  const int number = errno;
  std::string reason = std::string{what} + ": " + std::generic_category().message(number);
  if (number == EPERM) reason += ": this needs CAP_NET_ADMIN";
  if (number == ENOPROTOOPT) reason += ": this kernel has no transparent sockets";
  return fail(Errc::system, std::move(reason));
}

}  // namespace

Result<SocketAddress> original_destination(const Stream& client) {
  const SocketAddress local = unmapped(client.local());
  if (local.storage.ss_family != AF_INET && local.storage.ss_family != AF_INET6) {
    return fail(Errc::system, "the connection has no original destination");
  }
  const bool v6 = local.storage.ss_family == AF_INET6;
  SocketAddress original;
  original.size = v6 ? sizeof(sockaddr_in6) : sizeof(sockaddr_in);
  if (::getsockopt(client.fd(), v6 ? SOL_IPV6 : SOL_IP, kOriginalDestination, original.get(),
                   &original.size) == 0) {
    return original;
  }
  // Without an entry (ENOENT) nothing has been rewritten. Without the option (ENOPROTOOPT) nothing
  // on this machine can be.
  if (errno == ENOENT || errno == ENOPROTOOPT) return local;
  return fail(Errc::system, "cannot find the connection's original destination: " +
                                std::generic_category().message(errno));
}

Result<bool> is_own_address(const SocketAddress& address) {
  const auto wanted = ip_bytes(unmapped(address));
  if (!wanted) return true;
  const bool v4 = is_mapped(*wanted);
  if (v4 && ((*wanted)[12] == 127 || (*wanted)[12] == 0)) return true;  // all of 127/8 is loopback
  if (!v4 && std::all_of(wanted->begin(), wanted->end() - 1, [](auto byte) { return byte == 0; }))
    return true;  // :: and ::1

  ifaddrs* all = nullptr;
  if (::getifaddrs(&all) != 0) {
    return fail(Errc::system,
                "cannot list this machine's addresses: " + std::generic_category().message(errno));
  }
  const std::unique_ptr<ifaddrs, void (*)(ifaddrs*)> owner{all, &::freeifaddrs};
  for (const ifaddrs* one = all; one != nullptr; one = one->ifa_next) {
    if (one->ifa_addr == nullptr) continue;
    if (one->ifa_addr->sa_family != AF_INET && one->ifa_addr->sa_family != AF_INET6) continue;
    if (ip_bytes(of_generic(one->ifa_addr)) == wanted) return true;
  }
  return false;
}

Result<Socket> socket_of_another(const SocketAddress& source) {
  const SocketAddress own = unmapped(source);
  const int family = own.storage.ss_family;
  if (family != AF_INET && family != AF_INET6) {
    return fail(Errc::system, "the client has no IP address to connect from");
  }
  Socket socket{::socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)};
  if (socket.get() < 0) return lacking("cannot create a socket");
  if (!make_transparent(socket)) return lacking("cannot connect from the client's address");
  std::minstd_rand ports{std::random_device{}()};
  std::uniform_int_distribution<std::uint16_t> any{kFirstPort, kLastPort};
  for (int attempt = 0; attempt < kMaxBinds; ++attempt) {
    const SocketAddress wanted = with_port(own, any(ports));
    if (::bind(socket.get(), wanted.get(), wanted.size) == 0) return socket;
    if (errno != EADDRINUSE) break;
  }
  return lacking("cannot connect from the client's address");
}

Result<> may_use_addresses_of_others() {
  const Socket socket{::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
  if (socket.get() < 0) return lacking("cannot create a socket");
  if (!make_transparent(socket)) return lacking("cannot connect from the client's address");
  return {};
}

}  // namespace starttls::net
