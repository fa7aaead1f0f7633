#include "proxy/listeners.h"

#include <algorithm>
#include <utility>

#include "lib/net/listener.h"

namespace starttls {
namespace {

/// The address; where the system chose the port, whose it is instead.
std::string identity_of(const Address& address, const std::string& service, std::size_t index) {
  if (address.is_unix() || address.port != 0) return to_string(address);
  return service + "#" + std::to_string(index) + " " + to_string(address);
}

/// A socket a worker, sharing one port.
Result<std::vector<net::Socket>> bind_all(const Address& wanted, std::size_t workers) {
  std::vector<net::Socket> sockets;
  Address bound = wanted;
  for (std::size_t i = 0; i < workers; ++i) {
    const bool again = i > 0 && wanted.is_unix();
    auto socket = again ? net::duplicate(sockets.front()) : net::bind_listener(bound);
    if (!socket) return fail(std::move(socket.error()));
    if (!bound.is_unix()) bound.port = net::local_port(*socket);
    sockets.push_back(std::move(*socket));
  }
  return sockets;
}

}  // namespace

Result<Listeners::Plan> Listeners::plan(const Services& services, std::size_t workers) {
  planned_.clear();
  Plan plan;
  plan.changes.resize(workers);
  for (const auto& service : services) {
    const auto& config = service->config;
    for (std::size_t index = 0; index < config.listen.size(); ++index) {
      Entry entry;
      entry.wanted = identity_of(config.listen[index], config.name, index);
      entry.service = config.name;
      entry.protocol = config.protocol;
      const auto kept = std::find_if(current_.begin(), current_.end(), [&entry](const Entry& each) {
        return each.wanted == entry.wanted;
      });
      if (kept != current_.end()) {
        entry.id = kept->id;
        entry.address = kept->address;
        for (auto& change : plan.changes) change.kept.emplace_back(entry.id, service);
      } else {
        auto sockets = bind_all(config.listen[index], workers);
        if (!sockets) return fail(std::move(sockets.error()));
        entry.id = next_id_++;
        entry.address = net::local_name(sockets->front());
        entry.is_new = true;
        for (std::size_t i = 0; i < workers; ++i) {
          plan.changes[i].opened.push_back({entry.id, std::move((*sockets)[i]), service});
        }
        ++plan.opened;
      }
      planned_.push_back(std::move(entry));
    }
  }
  plan.closed = current_.size() + plan.opened - planned_.size();
  return plan;
}

void Listeners::commit() {
  for (const auto& old : current_) {
    const bool stays = std::any_of(planned_.begin(), planned_.end(),
                                   [&old](const Entry& each) { return each.id == old.id; });
    if (!stays) log_.info("closed", {{"service", old.service}, {"address", old.address}});
  }
  current_ = std::move(planned_);
  planned_.clear();
  for (auto& entry : current_) {
    if (!std::exchange(entry.is_new, false)) continue;
    log_.info(
        "listening",
        {{"service", entry.service}, {"protocol", entry.protocol}, {"address", entry.address}});
  }
}

}  // namespace starttls
