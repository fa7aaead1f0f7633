#pragma once

// The addresses that the workers listen on, each for a service, and how they change with a reload.

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "lib/base/error.h"
#include "lib/base/log.h"
#include "lib/net/listener.h"
#include "lib/net/takeover.h"
#include "lib/session/upstream/loop_guard.h"
#include "proxy/binding.h"
#include "proxy/state.h"
#include "proxy/supervisor/inherited_sockets.h"
#include "proxy/worker.h"

namespace starttls {

/// Lives on the control loop's thread.
class Listeners {
 public:
  /// `guard` gets the ports of our sockets.
  Listeners(log::Logger& log, session::LoopGuard& guard, const InheritedSockets& inherited) noexcept
      : log_(log), guard_(guard), inherited_(inherited) {}

  /// The changes to the workers that make them listen for `services`.
  struct Plan {
    std::vector<Worker::ListenerChange> changes;  ///< one per worker
    /// Paths that lead to another process until `complete`, which is called last. An abandoned plan
    /// leaves them to that process.
    std::vector<net::Takeover> takeovers;
    std::size_t opened = 0;
    std::size_t closed = 0;
  };
  /// Binds new addresses on every worker; if one fails, none is bound. Addresses that stay keep
  /// their sockets. New ones belong to `owner`, if it is given. `admin_port` is the admin
  /// endpoint's (0: none). Errors: system, with all addresses that could not be bound.
  [[nodiscard]] Result<Plan> plan(const Services& services, std::size_t workers,
                                  const std::optional<net::Owner>& owner = {},
                                  std::uint16_t admin_port = 0);
  /// Returns the ports of our sockets, both old and new ones while both may be open.
  [[nodiscard]] std::vector<std::uint16_t> ports() const;
  /// Remembers the plan, and logs the listeners that are new or closed. Call it after the plan is
  /// carried out.
  void commit();

 private:
  struct Entry {
    std::string wanted;       ///< identifies it from one configuration to the next
    std::string inherited{};  ///< the inherited socket's name; "" = we have bound it
    std::uint64_t id = 0;
    std::string service{};
    std::string protocol{};
    std::string address{};  ///< its real port included
    std::string downstream_mode{};
    std::string server{};
    std::string upstream_mode{};
    std::uint16_t port = 0;
    bool is_new = false;
    bool without_tproxy = false;  ///< its service could have used TPROXY
    std::string_view warning{};   ///< see Binding
  };

  [[nodiscard]] Result<> add_inherited(Plan& plan,
                                       const std::shared_ptr<const session::Service>& service,
                                       const Address& address);
  [[nodiscard]] Result<> add(Plan& plan, const std::shared_ptr<const session::Service>& service,
                             Entry entry, const std::function<Result<Binding>()>& bind);
  void report_guard();

  log::Logger& log_;
  session::LoopGuard& guard_;
  const InheritedSockets& inherited_;
  std::vector<Entry> current_;
  std::vector<Entry> planned_;
  std::uint64_t next_id_ = 0;
};

}  // namespace starttls
