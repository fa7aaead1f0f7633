#pragma once

// Sockets that the process was started with, for `listen = "systemd:NAME"`.
//
// They stay open as long as the process: a service that is taken out of the configuration and comes
// back with a later reload finds its sockets, and what has connected meanwhile waits in them. Each
// worker's loop has a duplicate, for whether such a socket may share its port is not ours to say.

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
    std::string wrong;  ///< why it is of no use; "" = it is
  };

  /// Those that the environment tells of, which is then taken out of it. Before there are threads,
  /// and before anything else is opened. Errors: config.
  [[nodiscard]] static Result<InheritedSockets> take();

  /// All of this name, in the order in which they were passed.
  [[nodiscard]] std::vector<const Passed*> named(std::string_view name) const;
  /// Names that no service listens on.
  [[nodiscard]] std::vector<std::string> unused(const config::Config& config) const;

  /// Holds the services that listen on inherited sockets against the rules for listeners, now that
  /// it is known where these are. What is wrong is appended to `problems`, all of it.
  void check(const config::Config& config, std::vector<std::string>& problems) const;

 private:
  void check(const config::Config& config, const config::Service& service, const Passed& passed,
             std::vector<std::string>& problems) const;

  std::vector<Passed> all_;
};

}  // namespace starttls
