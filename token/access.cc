#include "token/access.h"

#include <utility>

#include "lib/base/ascii.h"
#include "token/answer.h"
#include "token/detached.h"
#include "token/requests.h"
#include "token/store.h"

namespace starttls::token {
namespace {

using std::chrono::milliseconds;

/// A process that renews needs at most the time of one exchange, and a moment for the disk.
constexpr milliseconds kForTheDisk{10'000};

/// Returns the entry if it belongs to the client. A cached token of other client credentials is of
/// no use.
const Entry* own_entry(const std::optional<Entry>& entry, const Client& client) {
  return entry && belongs_to(*entry, client) ? &*entry : nullptr;
}

Failure with_advice(Failure failure, const Client& client) {
  if (failure.status == Exit::permission && client.flow != Flow::client_credentials) {
    failure.reason +=
        "; authorize again: starttls-token authorize " + ascii::escape(client.account);
  }
  return failure;
}

Outcome<Form> renewal_form(const Client& client, const Entry* entry, UnixTime now) {
  if (client.flow == Flow::client_credentials) return client_credentials_form(client, now);
  return refresh_form(client, entry->refresh_token, now);
}

}  // namespace

Outcome<Client> renewing_client(const Settings& settings, std::string_view account,
                                const Entry* entry) {
  const auto* const from_file = find_account(settings, account);
  const auto name = ascii::escape(account);
  if (from_file == nullptr && entry == nullptr) {
    return failed(
        Exit::no_input,
        name + ": there is no such account; authorize it: starttls-token authorize " + name);
  }
  if (from_file == nullptr && entry->flow == Flow::client_credentials) {
    return failed(Exit::no_input, name + ": tokens.toml no longer has this account");
  }
  auto client = make_client(from_file, {}, account);
  if (!client) return client;
  if (client->flow != Flow::client_credentials) {
    if (entry == nullptr) {
      return failed(Exit::no_input,
                    name + ": is not authorized yet: starttls-token authorize " + name);
    }
    // The entry has them if the command line of authorize had them.
    if (client->token_url.empty()) client->token_url = entry->token_url;
    if (client->client_id.empty()) client->client_id = entry->client_id;
    // The refresh token must reach no other endpoint, and would be of no use to another client.
    if (!belongs_to(*entry, *client)) {
      return failed(Exit::config, name +
                                      ": client_id or token_url has changed since it was "
                                      "authorized; authorize again: starttls-token authorize " +
                                      name);
    }
  }
  if (auto good = check_renewal(*client); !good) return failed(std::move(good.error()));
  return client;
}

Outcome<Secret> renewed_token(const Surroundings& with, std::string_view account) {
  const auto store = Store::open(with.settings.store);
  if (!store) return failed(store.error());
  const auto lock = store->lock(account, with.settings.timeout + kForTheDisk);
  if (!lock) return failed(lock.error());
  const auto stored = store->read(account);
  if (!stored) return failed(stored.error());
  const auto client = renewing_client(with.settings, account, *stored ? &**stored : nullptr);
  if (!client) return failed(client.error());
  const auto* const entry = own_entry(*stored, *client);
  // Another process may have renewed it while this one waited for the lock.
  if (entry != nullptr && is_fresh(*entry, with.now())) return entry->access_token;

  const auto form = renewal_form(*client, entry, with.now());
  if (!form) return failed(form.error());
  auto http = with.make_http();
  if (!http) return failed(std::move(http.error()));
  auto pending = store->prepare(account);
  if (!pending) return failed(std::move(pending.error()));
  const auto response = (*http)->post(client->token_url, *form);
  if (!response) return failed(response.error());
  const auto grant = read_grant(*response, *form);
  if (!grant) return failed(with_advice(grant.error(), *client));

  Entry next = entry != nullptr ? *entry : make_entry(*client, *grant, with.now());
  renew(next, *grant, with.now());
  if (auto committed = pending->commit(next); !committed)
    return failed(std::move(committed.error()));
  return next.access_token;
}

Outcome<Secret> access_token(const Surroundings& with, std::string_view account) {
  if (auto good = check_account(account); !good) return failed(std::move(good.error()));
  {
    const auto store = Store::open(with.settings.store);
    if (!store) return failed(store.error());
    const auto stored = store->read(account);
    if (!stored) return failed(stored.error());
    // NAME.new may have the newer entry after a crash. It is adopted with the lock.
    const auto client = renewing_client(with.settings, account, *stored ? &**stored : nullptr);
    if (!client && client.error().status != Exit::no_input) return failed(client.error());
    if (client) {
      const auto* const entry = own_entry(*stored, *client);
      if (entry != nullptr && is_fresh(*entry, with.now())) return entry->access_token;
    }
  }
  return detached([&] { return renewed_token(with, account); });
}

}  // namespace starttls::token
