#pragma once

// TOML as the converter writes it.

#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace starttls {

/// Returns the value in quotes. It has printable characters only.
[[nodiscard]] std::string toml(std::string_view value);
/// Returns one value as it is, and several as a list.
[[nodiscard]] std::string toml(const std::vector<std::string>& values);

/// "key = value" lines, the values in one column.
class TomlTable {
 public:
  /// `value` is TOML already.
  void set(std::string key, std::string value) {
    lines_.emplace_back(std::move(key), std::move(value));
  }
  [[nodiscard]] std::string text(std::string_view header) const;

 private:
  std::vector<std::pair<std::string, std::string>> lines_;
};

}  // namespace starttls
