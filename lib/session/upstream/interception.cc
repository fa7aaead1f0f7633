#include "lib/session/upstream/interception.h"

#include <utility>

#include "lib/net/original_destination.h"

namespace starttls::session {
namespace {

auto refused(std::string reason, const net::SocketAddress& destination) {
  return fail(Errc::not_allowed, std::move(reason),
              "original destination " + net::to_string(destination));
}

constexpr auto kLoop =
    "this connection comes from the proxy itself: the proxy's own must not be redirected";

}  // namespace

Result<std::unique_ptr<Interception>> Interception::of(const Service& service, net::Stream& client,
                                                       LoopGuard& guard) {
  const auto to = net::original_destination(client);
  if (!to) return fail(to.error());
  const auto ip = net::ip_bytes(*to);
  if (!ip) return refused("the original destination of this connection is not an IP address", *to);
  if (guard.listens_on(net::port_of(*to))) {
    const auto own = net::is_own_address(*to);
    if (!own) return fail(own.error());
    if (*own) {
      return refused("this address is the proxy's own: connect to the mail server's instead", *to);
    }
  }

  std::unique_ptr<Interception> found{new Interception};
  found->guard_ = &guard;
  found->accepted_ = guard.note(LoopGuard::End::accepted, client.peer(), *to);
  if (found->accepted_.is_loop()) return refused(kLoop, *to);

  const auto& config = service.config;
  if (const auto row = config::most_specific(config.destinations, *ip)) {
    found->policy_ = &service.destinations[*row];
  } else if (config::lacks_name(config.upstream)) {
    return refused("no server_name is set for the server at " + net::to_string(*to), *to);
  }
  found->destination_ = net::ip_address(*to);
  return found;
}

Result<> Interception::connected(net::Stream& server) {
  const net::SocketAddress to = server.peer();
  made_ = guard_->note(LoopGuard::End::made, server.local(), to);
  if (made_.is_loop()) return refused(kLoop, to);
  return {};
}

}  // namespace starttls::session
