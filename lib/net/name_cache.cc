#include "lib/net/name_cache.h"

#include <algorithm>
#include <utility>

namespace starttls::net {

/// Returns the answer after a failure: the old one as long as it is usable, otherwise the failure.
NameAnswer NameCache::Entry::best(Time now) const {
  if (is_usable(now)) return good;
  return fail(*failure);
}

NameCache::Known NameCache::look(const std::string& name, Time now) {
  const auto found = entries_.find(name);
  if (found == entries_.end()) return {.answer = {}, .must_ask = true};
  const Entry& entry = found->second;
  if (entry.good != nullptr && now < entry.good_until) return {.answer = entry.good};
  if (entry.failure && now < entry.failed_until) return {.answer = entry.best(now)};
  if (!entry.asked_at) return {.answer = {}, .must_ask = true};
  if (entry.is_usable(now) && now >= *entry.asked_at + kPatience) return {.answer = entry.good};
  return {};
}

void NameCache::on_asked(const std::string& name, Time now) {
  std::erase_if(entries_, [now](const auto& each) {
    const Entry& entry = each.second;
    return !entry.asked_at && !entry.is_usable(now) && now >= entry.failed_until;
  });
  entries_[name].asked_at = now;
}

NameAnswer NameCache::on_found(const std::string& name, Addresses addresses,
                               std::chrono::seconds ttl, Time now) {
  Entry& entry = entries_[name];
  entry.good = std::make_shared<const Addresses>(std::move(addresses));
  entry.good_at = now;
  entry.good_until = now + std::clamp<Time>(ttl, kMinTtl, kMaxTtl);
  entry.failure.reset();
  entry.asked_at.reset();
  return entry.good;
}

NameAnswer NameCache::on_failed(const std::string& name, Error error, bool final, Time now) {
  Entry& entry = entries_[name];
  if (final) entry.good.reset();
  entry.failure = std::move(error);
  entry.failed_until = now + kFailure;
  entry.asked_at.reset();
  return entry.best(now);
}

}  // namespace starttls::net
