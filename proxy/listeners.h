#pragma once

// Which addresses are listened on, for which service, on every worker; and how that changes with a
// reload.

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "lib/base/error.h"
#include "lib/base/log.h"
#include "proxy/state.h"
#include "proxy/worker.h"

namespace starttls {

/// Lives on the control loop's thread.
class Listeners {
 public:
  explicit Listeners(log::Logger& log) noexcept : log_(log) {}

  /// What is to be done to the workers so that `services` are listened for.
  struct Plan {
    std::vector<Worker::ListenerChange> changes;  ///< one a worker
    std::size_t opened = 0;
    std::size_t closed = 0;
  };
  /// Binds what is new, on every worker, or nothing at all. What is kept keeps its sockets. Errors:
  /// system, with the address.
  [[nodiscard]] Result<Plan> plan(const Services& services, std::size_t workers);
  /// The plan is carried out: remembers it, and logs where is listened.
  void commit();

 private:
  struct Entry {
    std::string wanted;  ///< identifies it from one configuration to the next
    std::uint64_t id = 0;
    std::string service;
    std::string protocol;
    std::string address;  ///< its real port included
    bool is_new = false;
  };

  log::Logger& log_;
  std::vector<Entry> current_;
  std::vector<Entry> planned_;
  std::uint64_t next_id_ = 0;
};

}  // namespace starttls
