#pragma once

// The addresses that the workers listen on, each for a service, and how they change with a reload.

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
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

 public:
  using Bind = std::function<Result<Binding>(const BindingRequest&)>;

  /// `guard` gets the ports of our sockets. A test may replace `bind`.
  Listeners(log::Logger& log, session::LoopGuard& guard, const InheritedSockets& inherited,
            Bind bind = bind_address)
      : log_(log), guard_(guard), inherited_(inherited), bind_(std::move(bind)) {}

  /// The changes to the workers that make them listen for `services`. A plan that is abandoned
  /// leaves nothing here.
  struct Plan {
    std::vector<Worker::ListenerChange> changes;  ///< one per worker
    /// Paths that lead to another process until `complete`, which is called last. An abandoned plan
    /// leaves them to that process.
    std::vector<net::Takeover> takeovers;
    std::size_t opened = 0;
    std::size_t closed = 0;

   private:
    friend class Listeners;
    std::vector<Entry> entries_;  // all listeners, new and old
  };
  /// Binds new addresses on every worker; if one fails, none is bound. Addresses that stay keep
  /// their sockets. New ones belong to `owner`, if it is given. `admin_port` is the admin
  /// endpoint's (0: none). Errors: system, with all addresses that could not be bound.
  [[nodiscard]] Result<Plan> plan(const Services& services, std::size_t workers,
                                  const std::optional<net::Owner>& owner = {},
                                  std::uint16_t admin_port = 0);
  /// Returns the ports of our sockets, without those of a plan.
  [[nodiscard]] std::vector<std::uint16_t> ports() const { return ports_of(current_); }
  /// Counts the ports of a plan as ours too, because both old and new ones may be open from now on.
  /// Call it before workers carry the plan out, when nothing can fail any more.
  void begin(const Plan& plan);
  /// Remembers the plan, and logs the listeners that are new or closed. Call it after the plan is
  /// carried out.
  void commit(Plan& plan);

 private:
  [[nodiscard]] static std::vector<std::uint16_t> ports_of(const std::vector<Entry>& entries);
  [[nodiscard]] std::vector<std::uint16_t> ports_with(const Plan& plan) const;
  [[nodiscard]] Result<> add_inherited(Plan& plan,
                                       const std::shared_ptr<const session::Service>& service,
                                       const Address& address);
  [[nodiscard]] Result<> add(Plan& plan, const std::shared_ptr<const session::Service>& service,
                             Entry entry, const std::function<Result<Binding>()>& bind);

  log::Logger& log_;
  session::LoopGuard& guard_;
  const InheritedSockets& inherited_;
  Bind bind_;
  std::vector<Entry> current_;
  std::uint64_t next_id_ = 0;
};

}  // namespace starttls
