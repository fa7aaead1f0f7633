#pragma once

// The name that the system gives this machine, for `proxy.hostname = ""`.

#include <chrono>
#include <functional>
#include <memory>
#include <string>

#include "lib/net/loop.h"
#include "lib/net/name_query.h"
#include "lib/net/timer.h"
#include "lib/session/own_name.h"

namespace starttls {

/// True if `name` can be sent as our own: a host's name with a dot in it (RFC 5321 §4.1.2). The
/// name that the system gives may not be such a name.
[[nodiscard]] bool is_qualified_name(const std::string& name);

/// Returns the best name that is known without asking a name server: the kernel's if it is
/// qualified, otherwise an address literal.
[[nodiscard]] std::string immediate_system_name();

/// Asks the resolver for the fully qualified name, in the background. It asks at once, at each
/// reload, and again and again while there is only an address literal. Lives on its loop's thread.
class SystemName {
 public:
  /// The pause between two questions without an answer. It doubles each time, up to kLastPause.
  static constexpr std::chrono::seconds kFirstPause{30};
  static constexpr std::chrono::seconds kLastPause{600};

  /// `on_changed` is called from the loop with a name that `own` has just been set to.
  SystemName(net::Loop& loop, std::shared_ptr<session::OwnName> own,
             std::function<void(const std::string& name)> on_changed);
  SystemName(const SystemName&) = delete;
  SystemName& operator=(const SystemName&) = delete;

  /// Looks for the name now, unless a query is under way.
  void look();
  /// Gives up a query that is under way, and stops looking.
  void stop();

 private:
  void on_outcome(const net::NameOutcome& outcome);
  void settle(const std::string& name);

  net::Loop& loop_;
  std::shared_ptr<session::OwnName> own_;
  std::function<void(const std::string& name)> on_changed_;
  std::unique_ptr<net::NameQuery> query_;
  net::Timer again_;
  std::chrono::seconds pause_ = kFirstPause;
};

}  // namespace starttls
