#include "token/listing.h"

#include <algorithm>
#include <array>
#include <set>
#include <utility>
#include <vector>

#include "lib/base/ascii.h"
#include "token/entry.h"
#include "token/progress.h"
#include "token/store.h"

namespace starttls::token {
namespace {

using Row = std::array<std::string, 4>;

std::string state_of(const Entry& entry, UnixTime now) {
  const auto left = entry.expires.since_1970 - now.since_1970;
  if (left <= std::chrono::seconds::zero()) {
    return "the token has ended; access renews it";
  }
  return "the token ends in " + duration_text(left);
}

std::string or_dash(const std::string& text) {
  return text.empty() ? "-" : text;
}

std::string aligned(const std::vector<Row>& rows) {
  std::array<std::size_t, 4> widths{};
  for (const auto& row : rows) {
    for (std::size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
  }
  std::string text;
  for (const auto& row : rows) {
    for (std::size_t i = 0; i + 1 < row.size(); ++i) {
      text += row[i] + std::string(widths[i] - row[i].size() + 2, ' ');
    }
    text += row.back() + "\n";
  }
  return text;
}

}  // namespace

Outcome<std::string> listing(const Settings& settings, UnixTime now) {
  const auto store = Store::open(settings.store);
  if (!store) return failed(store.error());
  auto stored = store->accounts();
  if (!stored) return failed(std::move(stored.error()));
  std::vector<Row> rows{{"ACCOUNT", "PROVIDER", "GRANT", "STATE"}};
  std::set<std::string> seen;
  for (const auto& account : *stored) {
    seen.insert(account);
    const auto entry = store->read(account);
    if (!entry) {
      rows.push_back({ascii::escape(account), "-", "-", entry.error().reason});
    } else if (*entry) {
      rows.push_back({ascii::escape(account), or_dash(ascii::escape((*entry)->provider)),
                      std::string(name((*entry)->flow)), state_of(**entry, now)});
    }
  }
  for (const auto& account : settings.accounts) {
    if (seen.contains(account.name) || account.name == "*") continue;
    const bool needs_person = account.grant != name(Flow::client_credentials);
    rows.push_back({ascii::escape(account.name), or_dash(ascii::escape(account.provider)),
                    or_dash(ascii::escape(account.grant)),
                    needs_person ? "not authorized" : "no token yet; access gets one"});
  }
  return aligned(rows);
}

}  // namespace starttls::token
