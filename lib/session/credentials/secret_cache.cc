#include "lib/session/credentials/secret_cache.h"

#include <algorithm>
#include <utility>

namespace starttls::session {
namespace {

NoSecret too_many_requests() {
  return {metrics::SecretFailure::busy,
          Error{Errc::login, "too many logins wait for the secret's source"}};
}

/// Returns for how long a secret may be used, by what is known about its end.
std::chrono::milliseconds usable_for(std::chrono::milliseconds lifetime, const SecretEnd& end,
                                     SecretCache::Times now) noexcept {
  auto usable = lifetime;
  if (end.after) {
    usable = std::min<std::chrono::milliseconds>(usable, *end.after - SecretCache::kMargin);
  }
  if (end.at) {
    usable = std::min<std::chrono::milliseconds>(
        usable, end.at->since_1970 - now.wall - SecretCache::kMargin);
  }
  return usable;
}

}  // namespace

/// Returns the entry of an account, or nullptr if there is no room for it. The one that has not
/// been used for the longest time makes room, unless a request waits for it.
SecretCache::Entry* SecretCache::entry_of(const Account& account) {
  const auto known = entries_.find(account);
  if (known != entries_.end()) return &known->second;
  if (entries_.size() >= kMaxAccounts) {
    auto oldest = entries_.end();
    for (auto each = entries_.begin(); each != entries_.end(); ++each) {
      if (each->second.state != State::idle) continue;
      if (oldest == entries_.end() || each->second.last_use < oldest->second.last_use) {
        oldest = each;
      }
    }
    if (oldest == entries_.end()) return nullptr;
    entries_.erase(oldest);
  }
  return &entries_[account];
}

/// True if the source is being asked, or will be. Later requests wait for the same answer.
bool SecretCache::is_under_way(const Entry& entry) noexcept {
  return entry.state != State::idle;
}

void SecretCache::drop_if_expired(Entry& entry, Times now) noexcept {
  const auto& until = entry.kept_until;
  if (now.steady >= until.steady || now.wall >= until.wall) entry.kept.reset();
  if (now.steady >= entry.failure_until) entry.failure.reset();
}

/// Returns the answer that needs no request to the source.
std::optional<SecretAnswer> SecretCache::known(Entry& entry, const Secret* refused, Times now) {
  drop_if_expired(entry, now);
  if (entry.failure) return *entry.failure;
  if (!entry.kept) return std::nullopt;
  if (refused == nullptr || !(*refused == entry.kept->secret)) return *entry.kept;
  // The source has confirmed a moment ago that it has no other.
  if (entry.confirmed && now.steady < *entry.confirmed + kFailureKept) return *entry.kept;
  entry.refused = std::move(entry.kept->secret);
  entry.kept.reset();
  return std::nullopt;
}

SecretCache::Asked SecretCache::ask(Ticket ticket, const Account& account, Milliseconds lifetime,
                                    const Secret* refused, Times now) {
  auto* const entry = entry_of(account);
  if (entry == nullptr) return {too_many_requests()};
  entry->last_use = ++uses_;
  const bool under_way = is_under_way(*entry);
  if (!under_way) {
    if (auto answer = known(*entry, refused, now)) return {std::move(answer)};
  }
  if (entry->waiting.size() >= kMaxWaiting) return {too_many_requests()};
  entry->waiting.push_back(ticket);
  entry->lifetime = lifetime;
  if (under_way) return {};
  auto& source = sources_[account.source];
  if (source.fetching >= kAtOnce) {
    entry->state = State::queued;
    source.queue.push_back(account);
    return {};
  }
  ++source.fetching;
  entry->state = State::fetching;
  return {.fetch = true};
}

void SecretCache::remember(Entry& entry, const NoSecret& failure, Times now) {
  entry.failure = failure;
  entry.failure_until = now.steady + kFailureKept;
  entry.refused.reset();
}

void SecretCache::keep(Entry& entry, const FreshSecret& secret, Times now) {
  entry.confirmed.reset();
  if (entry.refused && *entry.refused == secret.secret) entry.confirmed = now.steady;
  entry.refused.reset();
  const auto usable = usable_for(entry.lifetime, secret.end, now);
  if (usable <= Milliseconds::zero()) return;
  entry.kept = secret;
  entry.kept_until = {now.steady + usable, now.wall + usable};
}

SecretCache::Fetched SecretCache::on_fetched(const Account& account, const SecretAnswer& answer,
                                             Times now) {
  const auto found = entries_.find(account);
  if (found == entries_.end()) return {};
  auto& entry = found->second;
  Fetched fetched{.waiting = std::exchange(entry.waiting, {})};
  entry.state = State::idle;
  if (const auto* const failure = std::get_if<NoSecret>(&answer)) {
    remember(entry, *failure, now);
  } else {
    keep(entry, std::get<FreshSecret>(answer), now);
  }
  const auto source = sources_.find(account.source);
  if (source == sources_.end()) return fetched;
  --source->second.fetching;
  fetched.next = next_of(source->second);
  if (source->second.fetching == 0) sources_.erase(source);
  return fetched;
}

/// Takes the next account out of a source's queue, unless all its requests have been given up.
std::optional<SecretCache::Ticket> SecretCache::next_of(Source& source) {
  while (!source.queue.empty()) {
    const Account account = std::move(source.queue.front());
    source.queue.pop_front();
    auto& entry = entries_.at(account);
    if (entry.waiting.empty()) {
      entry.state = State::idle;
      continue;
    }
    entry.state = State::fetching;
    ++source.fetching;
    return entry.waiting.front();
  }
  return std::nullopt;
}

void SecretCache::give_up(Ticket ticket, const Account& account) noexcept {
  const auto found = entries_.find(account);
  if (found != entries_.end()) std::erase(found->second.waiting, ticket);
}

void SecretCache::keep_sources(const std::function<bool(const std::string& source)>& is_wanted) {
  std::erase_if(entries_, [&is_wanted](const auto& each) {
    return each.second.state == State::idle && !is_wanted(each.first.source);
  });
}

bool SecretCache::drop_expired(Times now) {
  bool left = false;
  for (auto& [account, entry] : entries_) {
    drop_if_expired(entry, now);
    left = left || entry.kept.has_value();
  }
  return left;
}

}  // namespace starttls::session
