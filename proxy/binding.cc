#include "proxy/binding.h"

#include <algorithm>
#include <utility>

namespace starttls {
namespace {

Result<Binding> bind_path(const BindingRequest& request) {
  Binding binding;
  binding.name = to_string(request.address);  // before a takeover it is bound under another name
  auto takeover = net::Takeover::prepare(request.address, request.owner);
  if (!takeover) return fail(std::move(takeover.error()));
  std::optional<net::Socket> bound;
  if (*takeover) {
    binding.warning = sharing_warning(request.address);
    binding.takeover.emplace(std::move(**takeover));
    bound = std::move(binding.takeover->socket());
  } else {
    auto socket = net::bind_listener(request.address, request.taking, request.owner);
    if (!socket) return fail(std::move(socket.error()));
    bound = std::move(*socket);
  }
  auto sockets = duplicates(*bound, request.sockets);
  if (!sockets) return fail(std::move(sockets.error()));
  binding.sockets = std::move(*sockets);
  return binding;
}

Result<Binding> bind_port(const BindingRequest& request) {
  Binding binding;
  if (would_be_anothers(request.address, request.own_ports) && net::is_taken(request.address)) {
    binding.warning = sharing_warning(request.address);
  }
  Address address = request.address;
  for (std::size_t i = 0; i < request.sockets; ++i) {
    auto socket = net::bind_listener(address, request.taking, request.owner);
    if (!socket) return fail(std::move(socket.error()));
    address.port = net::local_port(*socket);
    binding.sockets.push_back(std::move(*socket));
  }
  binding.name = net::local_name(binding.sockets.front());
  binding.port = address.port;
  return binding;
}

}  // namespace

Result<Binding> bind_address(const BindingRequest& request) {
  return request.address.is_unix() ? bind_path(request) : bind_port(request);
}

Result<std::vector<net::Socket>> duplicates(const net::Socket& socket, std::size_t count) {
  std::vector<net::Socket> sockets;
  while (sockets.size() < count) {
    auto copy = net::duplicate(socket);
    if (!copy) return fail(std::move(copy.error()));
    sockets.push_back(std::move(*copy));
  }
  return sockets;
}

bool would_be_anothers(const Address& address, std::span<const std::uint16_t> own_ports) {
  return address.port != 0 &&
         std::find(own_ports.begin(), own_ports.end(), address.port) == own_ports.end();
}

std::string_view sharing_warning(const Address& address) {
  return address.is_unix()
             ? "another process listened here and gets no new connections: end that process"
             : "another process listens here too and gets some of the connections: end that "
               "process";
}

}  // namespace starttls
