#include "proxy/convert/toml_table.h"

#include <algorithm>

namespace starttls {

std::string toml(std::string_view value) {
  std::string out = "\"";
  for (const char c : value) {
    if (c == '"' || c == '\\') out += '\\';
    out += c;
  }
  return out + '"';
}

std::string toml(const std::vector<std::string>& values) {
  if (values.size() == 1) return toml(values.front());
  std::string out;
  for (const auto& value : values) out += (out.empty() ? "[" : ", ") + toml(value);
  return out + "]";
}

std::string TomlTable::text(std::string_view header) const {
  std::size_t width = 0;
  for (const auto& [key, value] : lines_) width = std::max(width, key.size());
  std::string out = std::string(header) + "\n";
  for (const auto& [key, value] : lines_) {
    out.append(key).append(width - key.size(), ' ').append(" = ").append(value).append("\n");
  }
  return out;
}

}  // namespace starttls
