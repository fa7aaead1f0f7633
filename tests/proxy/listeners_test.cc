#include "proxy/listeners.h"

#include <algorithm>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "tests/support/catch.h"

using namespace starttls;
using Ports = std::vector<std::uint16_t>;

namespace {

Address at(std::uint16_t port) {
  return {.host = "127.0.0.1", .port = port, .path = {}};
}

Services services(const std::map<std::string, Ports>& ports_by_name) {
  Services made;
  for (const auto& [name, ports] : ports_by_name) {
    auto service = std::make_shared<session::Service>();
    service->config.name = name;
    service->config.protocol = "smtp";
    for (const auto port : ports) service->config.listen.push_back(at(port));
    made.push_back(std::move(service));
  }
  return made;
}

/// Listeners that bind no socket.
struct PlannedListeners {
  Result<Binding> bind(const BindingRequest& request) {
    const auto port = request.address.port;
    own_ports[port] = request.own_ports;
    if (taken.contains(port)) return fail(Errc::system, "cannot listen on " + std::to_string(port));
    Binding binding;
    binding.sockets.resize(request.sockets);
    binding.name = to_string(request.address);
    binding.port = port;
    return binding;
  }

  /// Returns the ports that count as ours.
  [[nodiscard]] Ports guarded() const {
    Ports all;
    for (std::uint16_t port = 1; port < 100; ++port) {
      if (guard.listens_on(port)) all.push_back(port);
    }
    return all;
  }

  void serve(const std::map<std::string, Ports>& ports_by_name) {
    auto plan = listeners.plan(services(ports_by_name), 2);
    REQUIRE(plan);
    listeners.begin(*plan);
    listeners.commit(*plan);
  }

  log::Logger log{log::Level::error, log::Format::text};
  session::LoopGuard guard;
  InheritedSockets inherited;
  std::set<std::uint16_t> taken;
  std::map<std::uint16_t, Ports> own_ports;  // those that the last request for a port named
  Listeners listeners{log, guard, inherited,
                      [this](const BindingRequest& request) { return bind(request); }};
};

}  // namespace

TEST_CASE("listeners: the ports of a plan are ours once it is carried out", "[proxy]") {
  PlannedListeners it;
  auto plan = it.listeners.plan(services({{"a", {25, 26}}}), 2);
  REQUIRE(plan);
  CHECK(plan->opened == 2);
  CHECK(plan->changes.size() == 2);
  CHECK(plan->changes[1].opened.size() == 2);
  CHECK(it.own_ports[26] == Ports{25, 0});  // no admin endpoint
  CHECK(it.guarded().empty());
  it.listeners.begin(*plan);
  CHECK(it.guarded() == Ports{25, 26});
  it.listeners.commit(*plan);
  CHECK(it.guarded() == Ports{25, 26});
  CHECK(it.listeners.ports() == Ports{25, 26});
}

TEST_CASE("listeners: both old and new ports are ours while a plan is carried out", "[proxy]") {
  PlannedListeners it;
  it.serve({{"a", {25, 26}}});
  auto plan = it.listeners.plan(services({{"a", {26, 27}}}), 2);
  REQUIRE(plan);
  CHECK(plan->opened == 1);
  CHECK(plan->closed == 1);
  CHECK(plan->changes[0].kept.size() == 1);
  it.listeners.begin(*plan);
  CHECK(it.guarded() == Ports{25, 26, 27});
  it.listeners.commit(*plan);
  CHECK(it.guarded() == Ports{26, 27});
}

TEST_CASE("listeners: a plan with an address that cannot be bound leaves no port", "[proxy]") {
  PlannedListeners it;
  it.serve({{"a", {25}}});
  it.taken = {28};
  const auto plan = it.listeners.plan(services({{"a", {25}}, {"b", {27, 28}}}), 2);
  REQUIRE_FALSE(plan);
  CHECK(plan.error().reason == "cannot listen on 28");
  CHECK(it.guarded() == Ports{25});
  CHECK(it.listeners.ports() == Ports{25});
  it.serve({{"a", {29}}});
  CHECK(it.own_ports[29] == Ports{25, 0});
}

TEST_CASE("listeners: an abandoned plan leaves no port", "[proxy]") {
  PlannedListeners it;
  it.serve({{"a", {25}}});
  // It was right, but a later step of the reload has failed.
  REQUIRE(it.listeners.plan(services({{"a", {25}}, {"b", {27}}}), 2));
  CHECK(it.guarded() == Ports{25});
  CHECK(it.listeners.ports() == Ports{25});
  it.serve({{"a", {25}}, {"b", {27}}});
  CHECK(it.own_ports[27] == Ports{25, 25, 0});
  CHECK(it.guarded() == Ports{25, 27});
}
