#include "proxy/supervisor/inherited_sockets.h"

#include <algorithm>
#include <utility>

#include <unistd.h>

#include "lib/base/ascii.h"
#include "lib/config/exposure.h"
#include "proxy/supervisor/environment.h"

namespace starttls {
Result<InheritedSockets> InheritedSockets::take() {
  const systemd::PassedVariables variables{.pid = systemd::take_variable("LISTEN_PID"),
                                           .count = systemd::take_variable("LISTEN_FDS"),
                                           .names = systemd::take_variable("LISTEN_FDNAMES")};
  auto names = systemd::passed_names(variables, static_cast<std::uint64_t>(::getpid()));
  if (!names) return fail(std::move(names.error()));
  InheritedSockets sockets;
  int fd = systemd::kFirstPassed;
  for (auto& name : *names) {
    Passed passed{std::move(name), net::Socket{-1}, {}, {}};
    if (auto socket = net::adopt_listener(fd)) {
      passed.socket = std::move(*socket);
      passed.address = net::listening_address(passed.socket);
    } else {
      passed.wrong = "descriptor " + std::to_string(fd) + " " + socket.error().reason;
    }
    sockets.all_.push_back(std::move(passed));
    ++fd;
  }
  return sockets;
}

std::vector<const InheritedSockets::Passed*> InheritedSockets::named(std::string_view name) const {
  std::vector<const Passed*> found;
  for (const auto& passed : all_) {
    if (passed.name == name) found.push_back(&passed);
  }
  return found;
}

std::vector<std::string> InheritedSockets::unused(const config::Config& config) const {
  std::vector<std::string> names;
  for (const auto& passed : all_) {
    const bool used = std::any_of(
        config.services.begin(), config.services.end(), [&passed](const config::Service& service) {
          const auto& listen = service.listen;
          return std::any_of(listen.begin(), listen.end(), [&passed](const Address& each) {
            return each.inherited == passed.name;
          });
        });
    if (!used && std::find(names.begin(), names.end(), passed.name) == names.end()) {
      names.push_back(passed.name);
    }
  }
  return names;
}

void InheritedSockets::check(const config::Config& config,
                             std::vector<std::string>& problems) const {
  std::string there_are;
  for (const auto& passed : all_) {
    const std::string shown = "'" + ascii::escape(passed.name) + "'";
    if (there_are.find(shown) != std::string::npos) continue;
    there_are += (there_are.empty() ? "the supervisor has passed " : ", ") + shown;
  }
  if (there_are.empty()) there_are = "the supervisor has passed none to this process (LISTEN_FDS)";

  for (const auto& service : config.services) {
    for (const auto& address : service.listen) {
      if (!address.is_inherited()) continue;
      const auto found = named(address.inherited);
      if (found.empty()) {
        problems.push_back("service " + service.name + ": no inherited socket has the name '" +
                           address.inherited + "': " + there_are);
      }
      for (const auto* passed : found) check(config, service, *passed, problems);
    }
  }
}

/// Checks an inherited socket by the rules that config::validate has for addresses that are written
/// out.
void InheritedSockets::check(const config::Config& config, const config::Service& service,
                             const Passed& passed, std::vector<std::string>& problems) const {
  const std::string name = "systemd:" + passed.name;
  const auto add = [&](const std::string& text) {
    problems.push_back("service " + service.name + ": " + text);
  };
  if (!passed.wrong.empty()) {
    add(name + ": " + passed.wrong);
    return;
  }
  const std::string where = to_string(passed.address) + " (" + name + ")";
  const auto& upstream = service.upstream;
  const auto risk = config::exposure(service);
  if (config::is_exposed_at(passed.address, service, risk)) {
    add(config::exposure_error(risk, where, config::Spelling::keys));
  }
  if (std::find(upstream.address.begin(), upstream.address.end(), passed.address) !=
      upstream.address.end()) {
    add("upstream.address: " + where + " is where this service itself listens");
  }
  if (passed.address.is_unix() && upstream.original_destination) {
    add("connections cannot be redirected to " + where + ": listen on a port");
  }
  if (passed.address.is_unix() && upstream.from_client) {
    add("upstream.source: clients of " + where + " have no address to connect from");
  }
  // If root owns both sockets, the kernel may let them share the port, and binding would not fail.
  if (const auto& admin = config.admin.listen; admin && config::overlap(passed.address, *admin)) {
    add(where + " conflicts with admin.listen, " + to_string(*admin));
  }
  for (const auto& other : config.services) {
    if (std::find(other.listen.begin(), other.listen.end(), passed.address) != other.listen.end()) {
      add(where + " is also an address of service " + other.name);
    }
  }
}

}  // namespace starttls
