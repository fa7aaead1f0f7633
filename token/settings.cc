#include "token/settings.h"

#include <sys/stat.h>

#include <algorithm>
#include <filesystem>
#include <iterator>
#include <set>
#include <utility>

#include "lib/base/ascii.h"
#include "lib/config/expand.h"
#include "token/providers.h"
#include "token/toml_file.h"

namespace starttls::token {
namespace {

namespace fs = std::filesystem;

/// A key of an account that is plain text.
struct TextKey {
  std::string_view key;
  decltype(&AccountSettings::name) member;
};

constexpr TextKey kTextKeys[] = {
    {"name", &AccountSettings::name},
    {"provider", &AccountSettings::provider},
    {"tenant", &AccountSettings::tenant},
    {"grant", &AccountSettings::grant},
    {"client_id", &AccountSettings::client_id},
    {"scope", &AccountSettings::scope},
    {"token_url", &AccountSettings::token_url},
    {"authorize_url", &AccountSettings::authorize_url},
    {"device_url", &AccountSettings::device_url},
    {"redirect", &AccountSettings::redirect},
    {"algorithm", &AccountSettings::algorithm},
};

bool can_others_read(const fs::path& path) {
  struct ::stat status = {};
  return ::stat(path.c_str(), &status) == 0 && (status.st_mode & S_IRWXO) != 0;
}

Outcome<std::string> read_text(const fs::path& path) {
  auto content = config::read_file(path);
  if (!content) {
    return failed(Exit::config, ascii::escape(path.string()) + ": " + content.error().reason);
  }
  return std::move(*content);
}

/// Reads one file's settings.
class Reader {
 public:
  Reader(std::string folder, bool others_can_read)
      : folder_(std::move(folder)), others_can_read_(others_can_read) {}

  Outcome<> top(const Section& section, Settings& settings) const {
    if (auto text = only_text(section); !text) return text;
    for (const auto& [key, written] : section.values) {
      auto value = expanded(section, key, written);
      if (!value) return failed(std::move(value.error()));
      if (key == "store") {
        settings.store = (folder_ / *value).string();
      } else if (key == "ca_file") {
        settings.ca_file = (folder_ / *value).string();
      } else if (key == "timeout") {
        // A plain number of seconds. The proxy has a limit of its own for the whole.
        const auto number = ascii::parse_number(
            value->ends_with('s') ? value->substr(0, value->size() - 1) : std::string());
        if (!number || *number < 1 || *number > 120) {
          return wrong(section, "timeout must be from \"1s\" to \"120s\"");
        }
        settings.timeout = std::chrono::seconds{static_cast<std::int64_t>(*number)};
      } else {
        return wrong(section, "unknown key '" + ascii::escape(key) + "'");
      }
    }
    return {};
  }

  Outcome<AccountSettings> account(const Section& section) const {
    if (auto text = only_text(section); !text) return failed(std::move(text.error()));
    AccountSettings account;
    for (const auto& [key, written] : section.values) {
      if (auto read = read_key(section, key, written, account); !read) {
        return failed(std::move(read.error()));
      }
    }
    if (account.name.empty()) return wrong(section, "name is missing");
    if (account.certificate.empty() != account.key.empty()) {
      return wrong(section, "certificate and key belong together");
    }
    if (!account.key.empty() && !account.client_secret.empty()) {
      return wrong(section, "client_secret and certificate exclude each other");
    }
    return account;
  }

 private:
  static tl::unexpected<Failure> wrong(const Section& section, const std::string& what) {
    return failed(Exit::config, section.place + ": " + what);
  }

  static Outcome<> only_text(const Section& section) {
    if (section.not_text.empty()) return {};
    return wrong(section,
                 ascii::escape(section.not_text.front()) + " must be a text in \"quotes\"");
  }

  Outcome<std::string> expanded(const Section& section, const std::string& key,
                                const std::string& written) const {
    std::vector<std::string> files;
    auto value = config::expand(written, folder_, files);
    if (!value) return wrong(section, key + ": " + value.error().reason);
    return std::move(*value);
  }

  Outcome<> read_key(const Section& section, const std::string& key, const std::string& written,
                     AccountSettings& account) const {
    auto value = expanded(section, key, written);
    if (!value) return failed(std::move(value.error()));
    if (key == "client_secret") {
      account.client_secret = Secret{*value};
      wipe(*value);
      if (others_can_read_ && written.find("${") == std::string::npos) {
        return wrong(section,
                     "every user can read the client_secret: chmod o= the file, or "
                     "write \"${file:PATH}\"");
      }
      return {};
    }
    if (key == "certificate" || key == "key") {
      const auto path = folder_ / *value;
      if (key == "key" && can_others_read(path)) {
        return wrong(section, ascii::escape(path.string()) + ": every user can read the key");
      }
      auto content = read_text(path);
      if (!content) return failed(std::move(content.error()));
      if (key == "certificate") {
        account.certificate = std::move(*content);
      } else {
        account.key = Secret{*content};
        wipe(*content);
      }
      return {};
    }
    const auto* const found = std::find_if(std::begin(kTextKeys), std::end(kTextKeys),
                                           [&key](const TextKey& each) { return each.key == key; });
    if (found == std::end(kTextKeys)) {
      return wrong(section, "unknown key '" + ascii::escape(key) + "'");
    }
    account.*(found->member) = std::move(*value);
    return {};
  }

  fs::path folder_;
  bool others_can_read_;
};

/// Returns `url` with {tenant} replaced.
std::string with_tenant(std::string url, std::string_view tenant) {
  constexpr std::string_view kPlace = "{tenant}";
  if (const auto at = url.find(kPlace); at != std::string::npos) {
    url.replace(at, kPlace.size(), tenant);
  }
  return url;
}

bool is_tenant(std::string_view tenant) {
  return std::all_of(tenant.begin(), tenant.end(),
                     [](char c) { return ascii::is_alphanumeric(c) || c == '-' || c == '.'; });
}

std::string first_of(const std::string& one, const std::string& other) {
  return one.empty() ? other : one;
}

/// Adds the values of the command line to those of the file. They must not contradict.
Outcome<> add_choice(AccountSettings& account, const Choice& choice) {
  struct Pair {
    std::string_view option;
    std::string& from_file;
    const std::string& given;
  };
  const Pair pairs[] = {{"--provider", account.provider, choice.provider},
                        {"--tenant", account.tenant, choice.tenant},
                        {"--client-id", account.client_id, choice.client_id},
                        {"--scope", account.scope, choice.scope}};
  // A renewal has no command line. So a tenant cannot change an endpoint that the file names.
  const bool fixed_tenant = !account.provider.empty() || !account.token_url.empty();
  for (const auto& [option, from_file, given] : pairs) {
    if (given.empty()) continue;
    const bool fixed = !from_file.empty() || (option == "--tenant" && fixed_tenant);
    if (fixed && from_file != given) {
      return failed(Exit::usage, std::string(option) + " contradicts the configuration file");
    }
    from_file = given;
  }
  return {};
}

Outcome<> choose_flow(const AccountSettings& account, Client& client) {
  if (account.grant.empty()) {
    client.flow = client.device_url.empty() ? Flow::authorization_code : Flow::device_code;
    return {};
  }
  for (const auto flow : {Flow::device_code, Flow::authorization_code, Flow::client_credentials}) {
    if (name(flow) != account.grant) continue;
    client.flow = flow;
    return {};
  }
  return failed(Exit::config, "grant '" + ascii::escape(account.grant) +
                                  "' must be device_code, authorization_code or "
                                  "client_credentials");
}

tl::unexpected<Failure> missing(const Client& client, std::string_view key) {
  return failed(Exit::config, ascii::escape(client.account) + ": " + std::string(key) +
                                  " is missing: set it in tokens.toml");
}

}  // namespace

Outcome<Settings> load_settings(const std::string& path) {
  auto text = read_text(path);
  if (!text) return failed(std::move(text.error()));
  std::error_code error;
  const auto folder = fs::absolute(path, error).parent_path();
  auto settings = parse_settings(*text, path, folder.string(), can_others_read(path));
  wipe(*text);
  return settings;
}

Outcome<Settings> parse_settings(std::string_view toml, const std::string& path,
                                 const std::string& folder, bool others_can_read) {
  auto sections = sections_of(toml, path);
  if (!sections) return failed(std::move(sections.error()));
  const Reader reader(folder, others_can_read);
  Settings settings;
  std::set<std::string> names;
  for (const auto& section : *sections) {
    if (section.name.empty()) {
      if (auto read = reader.top(section, settings); !read) return failed(std::move(read.error()));
    } else if (section.name == "account") {
      auto account = reader.account(section);
      if (!account) return failed(std::move(account.error()));
      if (!names.insert(account->name).second) {
        return failed(Exit::config, section.place + ": a second account has this name");
      }
      settings.accounts.push_back(std::move(*account));
    } else {
      return failed(Exit::config,
                    section.place + ": unknown table '" + ascii::escape(section.name) + "'");
    }
  }
  return settings;
}

const AccountSettings* find_account(const Settings& settings, std::string_view account) {
  const AccountSettings* any = nullptr;
  for (const auto& each : settings.accounts) {
    if (each.name == account) return &each;
    if (each.name == "*") any = &each;
  }
  return any;
}

Outcome<Client> make_client(const AccountSettings* from_file, const Choice& choice,
                            std::string_view account) {
  AccountSettings own = from_file != nullptr ? *from_file : AccountSettings{};
  if (auto added = add_choice(own, choice); !added) return failed(std::move(added.error()));

  Provider preset;
  if (!own.provider.empty()) {
    const auto* const provider = find_provider(own.provider);
    if (provider == nullptr) {
      return failed(choice.provider.empty() ? Exit::config : Exit::usage,
                    "provider '" + ascii::escape(own.provider) + "' is unknown; known are " +
                        provider_names());
    }
    preset = *provider;
  }
  const auto tenant = first_of(own.tenant, preset.tenant);
  if (!is_tenant(tenant)) {
    return failed(Exit::config, "tenant '" + ascii::escape(tenant) + "' is no name of a tenant");
  }
  Client client{
      .account = std::string(account),
      .provider = own.provider,
      .client_id = own.client_id,
      .token_url = first_of(own.token_url, with_tenant(preset.token_url, tenant)),
      .authorize_url = first_of(own.authorize_url, with_tenant(preset.authorize_url, tenant)),
      .device_url = first_of(own.device_url, with_tenant(preset.device_url, tenant)),
      .authorize_extra = preset.authorize_extra,
      .algorithm = own.algorithm,
      .certificate = own.certificate,
      .key = own.key,
      .client_secret = own.client_secret};
  if (auto flow = choose_flow(own, client); !flow) return failed(std::move(flow.error()));
  client.scope =
      first_of(own.scope, client.flow == Flow::client_credentials ? preset.client_credentials_scope
                                                                  : preset.scope);
  const auto redirect = first_of(own.redirect, preset.redirect);
  auto address = parse_redirect(redirect.empty() ? "http://127.0.0.1" : redirect);
  if (!address) return failed(std::move(address.error()));
  client.redirect = *address;
  return client;
}

Outcome<> check_renewal(const Client& client) {
  if (client.client_id.empty()) return missing(client, "client_id");
  if (client.token_url.empty()) return missing(client, "provider or token_url");
  if (client.flow == Flow::client_credentials && client.client_secret.empty() &&
      client.key.empty()) {
    return missing(client, "client_secret, or certificate and key,");
  }
  return check_endpoint("token_url", client.token_url);
}

Outcome<> check_authorization(const Client& client) {
  switch (client.flow) {
    case Flow::client_credentials:
      return failed(Exit::usage, ascii::escape(client.account) +
                                     ": grant client_credentials needs no authorize");
    case Flow::device_code:
      if (client.device_url.empty()) return missing(client, "device_url");
      if (auto url = check_endpoint("device_url", client.device_url); !url) return url;
      break;
    case Flow::authorization_code:
      if (client.authorize_url.empty()) return missing(client, "provider or authorize_url");
      if (auto url = check_endpoint("authorize_url", client.authorize_url); !url) return url;
      break;
  }
  return check_renewal(client);
}

Outcome<> check_account(std::string_view account) {
  constexpr std::size_t kMaxAccount = 255;
  if (account.empty() || account.size() > kMaxAccount ||
      std::any_of(account.begin(), account.end(), ascii::is_control)) {
    return failed(Exit::usage,
                  "the account's name must have 1 to 255 bytes, and no control "
                  "characters");
  }
  return {};
}

}  // namespace starttls::token
