#include "token/providers.h"

#include <algorithm>
#include <cstdlib>
#include <map>

#include "token/providers_toml.h"  // made from conf/providers.toml
#include "token/toml_file.h"

namespace starttls::token {
namespace {

constexpr std::string_view kOauth = ".oauth";

std::vector<Provider> read_providers() {
  const auto sections = sections_of(kProvidersToml, "conf/providers.toml");
  if (!sections) std::abort();  // a test reads the same text
  std::vector<Provider> found;
  for (const auto& section : *sections) {
    if (!section.name.ends_with(kOauth)) continue;
    const auto value = [&section](const char* key) {
      const auto at = section.values.find(key);
      return at == section.values.end() ? std::string() : at->second;
    };
    found.push_back({.name = section.name.substr(0, section.name.size() - kOauth.size()),
                     .token_url = value("token_url"),
                     .authorize_url = value("authorize_url"),
                     .device_url = value("device_url"),
                     .scope = value("scope"),
                     .client_credentials_scope = value("client_credentials_scope"),
                     .tenant = value("tenant"),
                     .authorize_extra = value("authorize_extra"),
                     .redirect = value("redirect")});
  }
  return found;
}

}  // namespace

const std::vector<Provider>& providers() {
  static const std::vector<Provider> all = read_providers();
  return all;
}

const Provider* find_provider(std::string_view name) {
  const auto& all = providers();
  const auto found = std::find_if(all.begin(), all.end(),
                                  [name](const Provider& each) { return each.name == name; });
  return found == all.end() ? nullptr : &*found;
}

std::string provider_names() {
  std::string names;
  for (const auto& each : providers()) names += (names.empty() ? "" : ", ") + each.name;
  return names;
}

}  // namespace starttls::token
