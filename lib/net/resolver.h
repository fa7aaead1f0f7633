#pragma once

// Resolves names for all loops of a process, with one cache and at most one query under way per
// name. Queries run on one loop (the control loop); a loop that serves sessions never reads a file
// and never waits for a name server.

#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "lib/net/loop.h"
#include "lib/net/name_cache.h"
#include "lib/net/name_query.h"
#include "lib/net/timer.h"

namespace starttls::net {

class Resolver {
  struct Waiter;

 public:
  /// Runs queries on `home`. It is made before other threads run.
  explicit Resolver(Loop& home);
  Resolver(const Resolver&) = delete;
  Resolver& operator=(const Resolver&) = delete;
  /// Ends all queries. Called on home's thread, when no other thread uses the resolver any more.
  ~Resolver();

  /// Returns the answer, if it is known without a query. May be called from any thread.
  [[nodiscard]] std::optional<NameAnswer> known(const std::string& name);

  using OnFound = std::function<void(const NameAnswer&)>;
  /// A wait for an answer. Its owner may destroy it, and so give it up, at any time on its loop's
  /// thread; the query goes on for others.
  class Lookup {
   public:
    Lookup(const Lookup&) = delete;
    Lookup& operator=(const Lookup&) = delete;
    ~Lookup();

   private:
    friend Resolver;
    Lookup(Resolver& resolver, std::string name, std::shared_ptr<Waiter> waiter)
        : resolver_(resolver), name_(std::move(name)), waiter_(std::move(waiter)) {}

    Resolver& resolver_;
    std::string name_;
    std::shared_ptr<Waiter> waiter_;
  };
  /// Asks for a name, on `loop`'s thread. `found` is called there from the loop, once, unless the
  /// lookup is destroyed before.
  [[nodiscard]] std::unique_ptr<Lookup> find(Loop& loop, const std::string& name, OnFound found);

 private:
  struct Waiter {
    Loop& loop;
    OnFound found;  // on the loop's thread only; empty: has been called, or given up
  };
  using Waiters = std::vector<std::shared_ptr<Waiter>>;
  /// A query under way; home's thread only.
  struct Asking {
    std::unique_ptr<NameQuery> query;
    std::unique_ptr<Timer> patience;  // when it expires, askers get an old answer, if there is one
  };

  [[nodiscard]] static NameCache::Time now() noexcept;
  void ask(const std::string& name);
  void on_impatient(const std::string& name);
  void on_outcome(const std::string& name, NameOutcome outcome);
  void forget(const std::string& name, const std::shared_ptr<Waiter>& waiter);
  static void tell(const Waiters& waiters, const NameAnswer& answer);

  Loop& home_;
  std::map<std::string, Asking> asking_;
  std::mutex mutex_;  // guards everything below
  NameCache cache_;
  std::map<std::string, Waiters> waiters_;
};

}  // namespace starttls::net
