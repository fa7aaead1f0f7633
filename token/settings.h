#pragma once

// The file tokens.toml, and the client that results from it for one account.

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "lib/base/secret.h"
#include "token/failure.h"
#include "token/text.h"

namespace starttls::token {

inline constexpr std::string_view kDefaultConfig = "/etc/starttls-proxy/tokens.toml";
inline constexpr std::string_view kDefaultStore = "/var/lib/starttls-proxy/tokens";

/// How the tokens of an account are obtained.
enum class Flow : std::uint8_t { device_code, authorization_code, client_credentials };

inline constexpr std::string_view kFlowNames[] = {"device_code", "authorization_code",
                                                  "client_credentials"};

[[nodiscard]] constexpr std::string_view name(Flow flow) noexcept {
  return kFlowNames[static_cast<std::size_t>(flow)];
}

/// An [[account]] of the file, as written. "" is a missing value.
struct AccountSettings {
  std::string name;  ///< "*": all others
  std::string provider;
  std::string tenant;
  std::string grant;
  std::string client_id;
  std::string scope;
  std::string token_url;
  std::string authorize_url;
  std::string device_url;
  std::string redirect;
  std::string algorithm;
  std::string certificate;  ///< the file's content, PEM
  Secret key;               ///< the file's content, PEM
  Secret client_secret;
};

struct Settings {
  std::string store{kDefaultStore};
  std::string ca_file;
  std::chrono::milliseconds timeout{std::chrono::seconds{30}};
  std::vector<AccountSettings> accounts;
};

/// Reads the file and the files that it names. Errors: config.
[[nodiscard]] Outcome<Settings> load_settings(const std::string& path);
/// The same for a text. Relative names of files begin at `folder`. Secrets that are written in the
/// text itself are an error if `others_can_read`.
[[nodiscard]] Outcome<Settings> parse_settings(std::string_view toml, const std::string& path,
                                               const std::string& folder, bool others_can_read);

/// Values of the command line for one account. "" is a missing value.
struct Choice {
  std::string provider;
  std::string tenant;
  std::string client_id;
  std::string scope;
};

/// A client of a provider, ready to use for one account.
struct Client {
  std::string account;
  std::string provider{};
  Flow flow = Flow::authorization_code;
  std::string client_id;
  std::string scope{};
  std::string token_url;
  std::string authorize_url{};
  std::string device_url{};
  std::string authorize_extra{};
  LoopbackAddress redirect{};
  std::string algorithm{};
  std::string certificate{};
  Secret key{};
  Secret client_secret{};
};

/// Returns the settings for an account: those of its name, or of "*". nullptr if there are none.
[[nodiscard]] const AccountSettings* find_account(const Settings& settings,
                                                  std::string_view account);

/// Combines the file, the command line and the provider. `from_file` may be null. The result is
/// not checked for missing values. Errors: config; usage, if the command line contradicts the
/// file.
[[nodiscard]] Outcome<Client> make_client(const AccountSettings* from_file, const Choice& choice,
                                          std::string_view account);

/// Checks that a client has all that a renewal needs. Errors: config.
[[nodiscard]] Outcome<> check_renewal(const Client& client);
/// Checks that a client has all that its flow needs of a person's authorization. Errors: config;
/// usage, if the flow needs no person.
[[nodiscard]] Outcome<> check_authorization(const Client& client);

/// Checks the name of an account: 1 to 255 bytes, no control characters. Errors: usage.
[[nodiscard]] Outcome<> check_account(std::string_view account);

}  // namespace starttls::token
