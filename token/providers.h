#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace starttls::token {

/// A provider of conf/providers.toml.
struct Provider {
  std::string name;
  std::string token_url;
  std::string authorize_url;
  std::string device_url;  ///< "": it has no device authorization for mail
  std::string scope;
  std::string client_credentials_scope;  ///< "": it has no client credentials for mail
  std::string tenant;                    ///< replaces {tenant} in addresses
  std::string authorize_extra;           ///< more parameters of authorize_url
  std::string redirect;                  ///< "": http://127.0.0.1
};

/// Returns the providers that are built into the program.
[[nodiscard]] const std::vector<Provider>& providers();
/// Returns nullptr if the name is unknown.
[[nodiscard]] const Provider* find_provider(std::string_view name);
/// Returns the names for an error: "office365, google, ...".
[[nodiscard]] std::string provider_names();

}  // namespace starttls::token
