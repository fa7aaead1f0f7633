#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "token/failure.h"

namespace starttls::token {

/// A table of a TOML file. The first one of a file has the values outside of tables, and no name.
struct Section {
  std::string name;   ///< with dots, such as "office365.oauth"
  std::string place;  ///< "FILE:LINE"
  std::map<std::string, std::string> values;
  std::vector<std::string> not_text;  ///< keys with values of other types
};

/// Parses a TOML text. A table in an array of tables has the array's name. Errors: config.
[[nodiscard]] Outcome<std::vector<Section>> sections_of(std::string_view toml,
                                                        const std::string& path);

}  // namespace starttls::token
