#pragma once

// Sockets that the process was started with, for `listen = "systemd:NAME"`.
//
// They stay open as long as the process runs. A reload may remove a service, and a later one may
// bring it back. It then finds its sockets, and in them the connections that have arrived
// meanwhile. Each worker's loop has a duplicate of the socket, since the supervisor decides if its
// port can be shared.

#include <string>
#include <string_view>
#include <vector>

#include "lib/base/address.h"
#include "lib/base/error.h"
#include "lib/config/config.h"
#include "lib/net/listener.h"

namespace starttls {

class InheritedSockets {
 public:
  struct Passed {
    std::string name;
    net::Socket socket;
    Address address;    ///< where it listens
    std::string wrong;  ///< why it cannot be used; "" = it can
  };

  /// Returns the sockets that the environment names, and removes its variables. Call it before
  /// there are threads, and before anything else is opened. Errors: config.
  [[nodiscard]] static Result<InheritedSockets> take();

  /// Returns all sockets of this name, in the order in which they were passed.
  [[nodiscard]] std::vector<const Passed*> named(std::string_view name) const;
  /// Returns the names that no service listens on.
  [[nodiscard]] std::vector<std::string> unused(const config::Config& config) const;

  /// Checks the services that listen on inherited sockets by the rules for listeners, now that the
  /// sockets' addresses are known. Appends everything that is wrong to `problems`.
  void check(const config::Config& config, std::vector<std::string>& problems) const;

 private:
  void check(const config::Config& config, const config::Service& service, const Passed& passed,
             std::vector<std::string>& problems) const;

  std::vector<Passed> all_;
};

}  // namespace starttls
