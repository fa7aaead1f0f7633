#include "tools/mail_server/arguments.h"

#include <utility>

namespace starttls::bench {

std::optional<std::vector<std::string>> parse_arguments(std::string_view text) {
  std::vector<std::string> arguments;
  std::string argument;
  bool begun = false;
  bool quoted = false;
  int depth = 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (quoted) {
      if (c == '\\' && i + 1 < text.size()) {
        argument += text[++i];
      } else if (c == '"') {
        quoted = false;
      } else {
        argument += c;
      }
    } else if (c == '"') {
      begun = quoted = true;
    } else if (c == ' ' && depth == 0) {
      if (begun) arguments.push_back(std::exchange(argument, {}));
      begun = false;
    } else {
      begun = true;
      if (c == '(') ++depth;
      if (c == ')' && --depth < 0) return std::nullopt;
      argument += c;
    }
  }
  if (quoted || depth != 0) return std::nullopt;
  if (begun) arguments.push_back(std::move(argument));
  return arguments;
}

void append_quoted(std::string_view text, std::string& out) {
  out += '"';
  for (const char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    out += c;
  }
  out += '"';
}

}  // namespace starttls::bench
