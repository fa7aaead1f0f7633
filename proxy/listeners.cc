#include "proxy/listeners.h"

#include <algorithm>
#include <utility>

#include "lib/base/tls_mode.h"
#include "lib/config/config.h"
#include "lib/net/listener.h"
#include "lib/net/original_destination.h"

namespace starttls {
namespace {

/// Returns the identity of a listener: its address or, if the system chooses the port, its service
/// and index.
std::string identity_of(const config::Service& service, std::size_t index) {
  const Address& address = service.listen[index];
  // An intercepting listener binds its socket in another way, so it is another listener.
  const std::string kind = service.upstream.original_destination ? "intercepting " : "";
  if (address.is_unix() || address.port != 0) return kind + to_string(address);
  return kind + service.name + "#" + std::to_string(index) + " " + to_string(address);
}

/// Returns the configured servers, as the configuration names them.
std::string servers_of(const config::Upstream& upstream) {
  if (upstream.original_destination) return "original-destination";
  std::string text;
  for (const auto& address : upstream.address) {
    if (!text.empty()) text += ", ";
    text += to_string(address);
  }
  return text;
}

/// Returns one error that names all of them, so that they can be mended at once.
Error together(const std::vector<Error>& errors) {
  constexpr std::size_t kMost = 10;
  Error whole = errors.front();
  for (std::size_t i = 1; i < std::min(errors.size(), kMost); ++i) {
    whole.reason += "; " + errors[i].reason;
  }
  if (errors.size() > kMost) {
    whole.reason += "; and " + std::to_string(errors.size() - kMost) + " more";
  }
  return whole;
}

}  // namespace

Result<Listeners::Plan> Listeners::plan(const Services& services, std::size_t workers,
                                        const std::optional<net::Owner>& owner,
                                        std::uint16_t admin_port) {
  Plan plan;
  plan.changes.resize(workers);
  std::vector<Error> failures;
  for (const auto& service : services) {
    const auto& config = service->config;
    if (config.upstream.from_client) {
      if (auto may = net::may_use_addresses_of_others(); !may) {
        return fail(Errc::system, "service " + config.name + ": " + may.error().reason +
                                      " (upstream.source = \"client\")");
      }
    }
    for (std::size_t index = 0; index < config.listen.size(); ++index) {
      const Address& address = config.listen[index];
      if (address.is_inherited()) {
        if (auto added = add_inherited(plan, service, address); !added) {
          return fail(std::move(added.error()));
        }
        continue;
      }
      const auto taking =
          config.upstream.original_destination ? net::Taking::others_too : net::Taking::ours;
      const auto bind = [&]() -> Result<Binding> {
        auto own_ports = ports_with(plan);
        own_ports.push_back(admin_port);
        return bind_({.address = address,
                      .taking = taking,
                      .owner = owner,
                      .sockets = workers,
                      .own_ports = std::move(own_ports)});
      };
      auto added = add(plan, service, {.wanted = identity_of(config, index)}, bind);
      if (!added) failures.push_back(std::move(added.error()));
    }
  }
  if (!failures.empty()) return fail(together(failures));
  plan.closed = current_.size() + plan.opened - plan.entries_.size();
  return plan;
}

/// Adds the inherited sockets of this address. They were opened once, and go on listening while no
/// service names them.
Result<> Listeners::add_inherited(Plan& plan,
                                  const std::shared_ptr<const session::Service>& service,
                                  const Address& address) {
  const auto all = inherited_.named(address.inherited);
  for (std::size_t number = 0; number < all.size(); ++number) {
    const auto& socket = all[number]->socket;
    const auto duplicate_all = [&]() -> Result<Binding> {
      auto sockets = duplicates(socket, plan.changes.size());
      if (!sockets) return fail(std::move(sockets.error()));
      return Binding{.sockets = std::move(*sockets),
                     .name = net::local_name(socket),
                     .port = net::local_port(socket)};
    };
    auto added = add(plan, service,
                     {.wanted = to_string(address) + "#" + std::to_string(number),
                      .inherited = address.inherited},
                     duplicate_all);
    if (!added) return added;
  }
  return {};
}

/// Keeps the present listener of this identity, or opens a new one.
Result<> Listeners::add(Plan& plan, const std::shared_ptr<const session::Service>& service,
                        Entry entry, const std::function<Result<Binding>()>& bind) {
  entry.service = service->config.name;
  entry.protocol = service->config.protocol;
  const auto kept = std::find_if(current_.begin(), current_.end(), [&entry](const Entry& each) {
    return each.wanted == entry.wanted;
  });
  if (kept != current_.end()) {
    entry.id = kept->id;
    entry.address = kept->address;
    entry.port = kept->port;
    for (auto& change : plan.changes) change.kept.emplace_back(entry.id, service);
  } else {
    auto binding = bind();
    if (!binding) return fail(std::move(binding.error()));
    const net::Socket& first = binding->sockets.front();
    entry.id = next_id_++;
    entry.address = binding->name;
    entry.port = binding->port;
    entry.warning = binding->warning;
    entry.without_tproxy = service->config.upstream.original_destination &&
                           !config::is_local(net::listening_address(first)) &&
                           !net::is_transparent(first);
    entry.downstream_mode = name(service->config.downstream.tls);
    entry.server = servers_of(service->config.upstream);
    entry.upstream_mode = name(service->config.upstream.tls);
    entry.is_new = true;
    for (std::size_t i = 0; i < plan.changes.size(); ++i) {
      plan.changes[i].opened.push_back(
          {entry.id, std::move(binding->sockets[i]), service,
           entry.inherited.empty() ? net::Holder::us : net::Holder::supervisor});
    }
    if (binding->takeover) plan.takeovers.push_back(std::move(*binding->takeover));
    ++plan.opened;
  }
  plan.entries_.push_back(std::move(entry));
  return {};
}

void Listeners::begin(const Plan& plan) {
  guard_.set_ports(ports_with(plan));
}

void Listeners::commit(Plan& plan) {
  const auto& planned = plan.entries_;
  for (const auto& old : current_) {
    const bool stays = std::any_of(planned.begin(), planned.end(),
                                   [&old](const Entry& each) { return each.id == old.id; });
    if (!stays) log_.info("closed", {{"service", old.service}, {"address", old.address}});
  }
  current_ = std::exchange(plan.entries_, {});
  guard_.set_ports(ports());
  for (auto& entry : current_) {
    if (!std::exchange(entry.is_new, false)) continue;
    log_.info("listening", {{"service", entry.service},
                            {"protocol", entry.protocol},
                            {"address", entry.address},
                            {"downstream_mode", entry.downstream_mode},
                            {"server", entry.server},
                            {"upstream_mode", entry.upstream_mode}});
    if (!entry.warning.empty()) {
      log_.warn(std::exchange(entry.warning, {}),
                {{"service", entry.service}, {"address", entry.address}});
    }
    if (!std::exchange(entry.without_tproxy, false)) continue;
    log_.warn(entry.inherited.empty()
                  ? "only REDIRECT reaches this listener: TPROXY needs CAP_NET_ADMIN"
                  : "only REDIRECT reaches this listener: TPROXY needs Transparent=yes in its unit",
              {{"service", entry.service}, {"address", entry.address}});
  }
}

std::vector<std::uint16_t> Listeners::ports_of(const std::vector<Entry>& entries) {
  std::vector<std::uint16_t> ports;
  for (const auto& entry : entries) {
    if (entry.port != 0) ports.push_back(entry.port);
  }
  return ports;
}

std::vector<std::uint16_t> Listeners::ports_with(const Plan& plan) const {
  auto all = ports();
  const auto planned = ports_of(plan.entries_);
  all.insert(all.end(), planned.begin(), planned.end());
  return all;
}

}  // namespace starttls
