#include "token/entry.h"

#include <chrono>
#include <utility>

#include "lib/base/ascii.h"
#include "token/json.h"
#include "token/text.h"

namespace starttls::token {
namespace {

using std::chrono::seconds;

constexpr seconds kSafety = std::chrono::minutes{5};
constexpr seconds kClockError = std::chrono::minutes{1};
constexpr std::int64_t kVersion = 1;

constexpr bool is_plain(char c) noexcept {
  return ascii::is_alphanumeric(c) || c == '@' || c == '+' || c == '-' || c == '_' || c == '.';
}

}  // namespace

Entry make_entry(const Client& client, const Grant& grant, UnixTime now) {
  Entry entry{.account = client.account,
              .provider = client.provider,
              .flow = client.flow,
              .token_url = client.token_url,
              .client_id = client.client_id,
              .scope = client.scope};
  renew(entry, grant, now);
  return entry;
}

void renew(Entry& entry, const Grant& grant, UnixTime now) {
  entry.access_token = grant.access_token;
  if (!grant.refresh_token.empty()) entry.refresh_token = grant.refresh_token;
  if (!grant.scope.empty()) entry.scope = grant.scope;
  entry.obtained = now;
  entry.expires = {now.since_1970 + grant.lifetime.value_or(seconds::zero())};
}

bool is_fresh(const Entry& entry, UnixTime now) noexcept {
  if (entry.access_token.empty()) return false;
  if (now.since_1970 + kClockError < entry.obtained.since_1970) return false;
  return entry.expires.since_1970 - now.since_1970 >= kSafety;
}

bool belongs_to(const Entry& entry, const Client& client) noexcept {
  return entry.token_url == client.token_url && entry.client_id == client.client_id &&
         (entry.flow == Flow::client_credentials) == (client.flow == Flow::client_credentials);
}

Secret to_json(const Entry& entry) {
  using nlohmann::json;
  json object = {{"version", kVersion},
                 {"account", entry.account},
                 {"provider", entry.provider},
                 {"grant", name(entry.flow)},
                 {"token_url", entry.token_url},
                 {"client_id", entry.client_id},
                 {"scope", entry.scope},
                 {"refresh_token", entry.refresh_token.reveal()},
                 {"access_token", entry.access_token.reveal()},
                 {"obtained", entry.obtained.since_1970.count()},
                 {"expires", entry.expires.since_1970.count()}};
  std::string text = object.dump(2, ' ', true, json::error_handler_t::replace) + "\n";
  Secret content{text};
  wipe(text);
  for (const char* key : {"refresh_token", "access_token"}) {
    wipe(object[key].get_ref<std::string&>());
  }
  return content;
}

std::optional<Entry> parse_entry(std::string_view text) {
  const auto object = JsonObject::parse(text);
  if (!object || object->number("version") != kVersion) return std::nullopt;
  auto refresh_token = object->secret("refresh_token");
  auto access_token = object->secret("access_token");
  const auto obtained = object->number("obtained");
  const auto expires = object->number("expires");
  const auto grant = object->text("grant");
  auto token_url = object->text("token_url");
  auto client_id = object->text("client_id");
  if (!refresh_token || !access_token || !obtained || !expires || !grant || !token_url ||
      !client_id) {
    return std::nullopt;
  }
  Entry entry{.account = object->text("account").value_or(""),
              .provider = object->text("provider").value_or(""),
              .token_url = std::move(*token_url),
              .client_id = std::move(*client_id),
              .scope = object->text("scope").value_or(""),
              .refresh_token = std::move(*refresh_token),
              .access_token = std::move(*access_token),
              .obtained = {seconds{*obtained}},
              .expires = {seconds{*expires}}};
  for (const auto flow : {Flow::device_code, Flow::authorization_code, Flow::client_credentials}) {
    if (name(flow) != *grant) continue;
    entry.flow = flow;
    return entry;
  }
  return std::nullopt;
}

std::string file_name(std::string_view account) {
  constexpr std::string_view kHex = "0123456789ABCDEF";
  std::string out;
  for (const char c : account) {
    // A leading dot would hide the file, and could name a folder.
    if (is_plain(c) && !(out.empty() && c == '.')) {
      out += c;
    } else {
      const auto byte = static_cast<unsigned char>(c);
      out += '%';
      out += kHex[byte >> 4U];
      out += kHex[byte & 15U];
    }
  }
  return out;
}

std::optional<std::string> account_of(std::string_view name) {
  std::string escaped;  // as in a query, where '+' is a blank
  for (const char c : name) {
    if (c == '+') {
      escaped += "%2B";
    } else {
      escaped += c;
    }
  }
  const auto fields = parse_query("x=" + escaped);
  if (!fields || fields->size() != 1) return std::nullopt;
  const std::string& account = fields->front().second;
  if (account.empty() || file_name(account) != name) return std::nullopt;
  return account;
}

}  // namespace starttls::token
