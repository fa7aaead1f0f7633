#include "lib/tls/client_facts.h"

#include <utility>

namespace starttls::tls {

const ClientFacts& ClientFactsStore::Shared::get() const noexcept {
  static const ClientFacts kNone;
  return entry_ == nullptr ? kNone : entry_->first;
}

ClientFactsStore::Shared ClientFactsStore::share(ClientFacts facts) {
  const std::lock_guard lock(mutex_);
  Entry& entry = *entries_.try_emplace(std::move(facts), Uses{this, 0}).first;
  ++entry.second.count;
  return Shared{&entry};
}

std::size_t ClientFactsStore::size() const {
  const std::lock_guard lock(mutex_);
  return entries_.size();
}

void ClientFactsStore::release(Entry& entry) noexcept {
  const std::lock_guard lock(mutex_);
  if (--entry.second.count == 0) entries_.erase(entries_.find(entry.first));
}

}  // namespace starttls::tls
