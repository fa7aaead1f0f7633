#pragma once

// An account as the store keeps it, and its file format: one JSON object.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "lib/base/secret.h"
#include "lib/base/utc.h"
#include "token/answer.h"
#include "token/settings.h"

namespace starttls::token {

struct Entry {
  std::string account;
  std::string provider{};
  Flow flow = Flow::authorization_code;
  // The refresh token was issued for this client by this endpoint, and goes nowhere else.
  std::string token_url;
  std::string client_id;
  std::string scope{};
  Secret refresh_token{};  ///< empty with client_credentials
  Secret access_token{};
  UnixTime obtained{};
  UnixTime expires{};  ///< of the access token; equal to `obtained` if the endpoint did not say it
};

/// Returns a new entry with the tokens of a grant.
[[nodiscard]] Entry make_entry(const Client& client, const Grant& grant, UnixTime now);
/// Replaces the tokens. A refresh token that the grant lacks stays (RFC 6749 §6).
void renew(Entry& entry, const Grant& grant, UnixTime now);

/// True if the access token can still be used for at least five minutes. False also if the clock
/// was set back to before the token was obtained, because its end is then unknown.
[[nodiscard]] bool is_fresh(const Entry& entry, UnixTime now) noexcept;

/// True if the entry's tokens belong to this client and this endpoint.
[[nodiscard]] bool belongs_to(const Entry& entry, const Client& client) noexcept;

/// Returns the content of the entry's file.
[[nodiscard]] Secret to_json(const Entry& entry);
/// Returns nothing if `json` is no whole entry, as after a crash.
[[nodiscard]] std::optional<Entry> parse_entry(std::string_view json);

/// Returns the name of an account's file, without its ending. Characters other than letters,
/// digits and "@+-_." become %XX, so that no name leaves the folder.
[[nodiscard]] std::string file_name(std::string_view account);
/// Returns the account that a file's name belongs to; nothing if it is no such name.
[[nodiscard]] std::optional<std::string> account_of(std::string_view file_name);

}  // namespace starttls::token
