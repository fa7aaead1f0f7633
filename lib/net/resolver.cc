#include "lib/net/resolver.h"

#include <utility>

#include <ares.h>

namespace starttls::net {

Resolver::Resolver(Loop& home) : home_(home) {
  // On this system the call does nothing that could fail; other versions of the library need it.
  static_cast<void>(ares_library_init(ARES_LIB_INIT_ALL));
}

Resolver::~Resolver() {
  asking_.clear();
  ares_library_cleanup();
}

NameCache::Time Resolver::now() noexcept {
  return std::chrono::duration_cast<NameCache::Time>(Loop::precise_now());
}

std::optional<NameAnswer> Resolver::known(const std::string& name) {
  const std::lock_guard lock(mutex_);
  return cache_.look(name, now()).answer;
}

std::unique_ptr<Resolver::Lookup> Resolver::find(Loop& loop, const std::string& name,
                                                 OnFound found) {
  const std::shared_ptr<Waiter> waiter(new Waiter{loop, std::move(found)});
  bool must_ask = false;
  {
    const std::lock_guard lock(mutex_);
    const auto at = now();
    const auto look = cache_.look(name, at);
    must_ask = look.must_ask;
    if (must_ask) cache_.on_asked(name, at);
    if (look.answer) {
      tell({waiter}, *look.answer);
    } else {
      waiters_[name].push_back(waiter);
    }
  }
  if (must_ask) home_.post([this, name] { ask(name); });
  return std::unique_ptr<Lookup>(new Lookup(*this, name, waiter));
}

Resolver::Lookup::~Lookup() {
  waiter_->found = nullptr;
  resolver_.forget(name_, waiter_);
}

void Resolver::forget(const std::string& name, const std::shared_ptr<Waiter>& waiter) {
  const std::lock_guard lock(mutex_);
  const auto found = waiters_.find(name);
  if (found == waiters_.end()) return;
  std::erase(found->second, waiter);
  if (found->second.empty()) waiters_.erase(found);
}

void Resolver::ask(const std::string& name) {
  Asking& asking = asking_[name];
  asking.patience = std::make_unique<Timer>(home_, [this, name] { on_impatient(name); });
  asking.patience->start(NameCache::kPatience);
  asking.query = std::make_unique<NameQuery>(
      home_, name, [this, name](NameOutcome outcome) { on_outcome(name, std::move(outcome)); });
  asking.query->start();
}

/// Gives an old answer, if there is one, to all that wait. Later askers get it at once.
void Resolver::on_impatient(const std::string& name) {
  const std::lock_guard lock(mutex_);
  const auto answer = cache_.look(name, now()).answer;
  const auto waiting = waiters_.find(name);
  if (!answer || waiting == waiters_.end()) return;
  tell(waiting->second, *answer);
  waiters_.erase(waiting);
}

void Resolver::on_outcome(const std::string& name, NameOutcome outcome) {
  const auto query =
      asking_.extract(name);  // alive until the end of this function, and `name` with it
  {
    const std::lock_guard lock(mutex_);
    const auto answer =
        outcome.kind == NameOutcome::Kind::found
            ? cache_.on_found(name, std::move(outcome.addresses), outcome.ttl, now())
            : cache_.on_failed(name,
                               Error{Errc::unreachable, "cannot resolve the name of the server",
                                     name + ": " + outcome.words},
                               outcome.kind == NameOutcome::Kind::no_such_name, now());
    if (const auto waiting = waiters_.find(name); waiting != waiters_.end()) {
      tell(waiting->second, answer);
      waiters_.erase(waiting);
    }
  }
}

/// Gives the answer to each waiter on its own loop, later.
void Resolver::tell(const Waiters& waiters, const NameAnswer& answer) {
  for (const auto& waiter : waiters) {
    waiter->loop.post([waiter, answer] {
      if (const auto found = std::exchange(waiter->found, nullptr)) found(answer);
    });
  }
}

}  // namespace starttls::net
