#include "lib/config/read_login.h"

#include <cstddef>
#include <utility>

#include "lib/base/ascii.h"
#include "lib/base/login_settings.h"
#include "lib/config/notation.h"
#include "lib/config/password_hash.h"
#include "lib/config/read.h"

namespace starttls::config {
namespace {

using Kind = Value::Kind;

constexpr std::size_t kMaxCommandParts = 64;
constexpr std::size_t kMaxCommandPart = 4096;

/// Adds a finding about a secret. It names the reference if the value has one, never the value.
void reject_secret(const Input& input, const std::string& text) {
  reject(input, (input.value.written ? quoted(input.value) + ": " : "") + text);
}

/// True for a text that can be a secret. Every protocol can send it as it is, and no server takes
/// it for more than one line.
bool is_usable_secret(const Input& input) {
  const auto& value = input.value;
  if (value.kind != Kind::text && value.kind != Kind::word) {
    reject_kind(input, "a string");
    return false;
  }
  if (value.text.size() > kMaxSecret) {
    reject_secret(input, "is longer than " + std::to_string(kMaxSecret) + " bytes");
    return false;
  }
  if (!ascii::is_one_line(value.text)) {
    reject_secret(input, "contains a line break or NUL: a secret is one line");
    return false;
  }
  return true;
}

/// True for an empty text from outside. An empty file is more likely a mistake than a wish for the
/// meaning of "".
bool is_empty_reference(const Input& input) {
  return input.value.text.empty() && input.value.written.has_value();
}

/// Reads a part of a command: the program, or an argument.
bool read_part(const Input& input, std::string& out) {
  if (!read_text(input, out)) return false;
  if (out.size() <= kMaxCommandPart) return true;
  reject(input, "has a part of more than " + std::to_string(kMaxCommandPart) + " bytes");
  return false;
}

/// Reads the path of a program and makes it absolute. A name without a folder is refused: a search
/// along PATH could find another program.
bool read_program(const Input& input, std::string& out) {
  std::string part;
  if (!read_part(input, part)) return false;
  if (part.find('/') == std::string::npos || part.ends_with('/')) {
    reject(input,
           "must begin with the path of a program, such as /usr/bin/program or ./program, not " +
               quoted(input.value));
    return false;
  }
  read_path(input, out);
  if (out.find(kUserPlaceholder) != std::string::npos) {
    reject(input, "'{user}' may be in an argument, not in the program's path");
    return false;
  }
  return true;
}

}  // namespace

void read_secret(const Input& input, std::optional<Secret>& out) {
  if (!is_usable_secret(input)) return;
  if (is_empty_reference(input)) {
    reject_secret(input, "is empty");
    return;
  }
  out.reset();
  if (!input.value.text.empty()) out.emplace(input.value.text);
}

void read_password(const Input& input, std::optional<Secret>& out) {
  if (!is_usable_secret(input)) return;
  const auto& text = input.value.text;
  if (is_empty_reference(input)) {
    reject_secret(input, R"(is empty: if any password will do, write password = "")");
  } else if (has_form_of_hash(text) && !is_password_hash(text)) {
    reject_secret(
        input,
        "has the form of a hash, '$ID$...', but is not a whole one of a kind that is known "
        "($1$, $2a$, $2b$, $2y$, $5$, $6$, $7$, $y$, $gy$): `openssl passwd -6` prints "
        "one");
  } else {
    out.emplace(text);
  }
}

void read_socket_path(const Input& input, std::string& out) {
  constexpr std::string_view kPrefix = "unix:";
  std::string path;
  const auto before = input.findings.size();
  auto value = input.value;
  if (value.text.starts_with(kPrefix)) value.text.erase(0, kPrefix.size());
  read_path({input.path, value, input.source, input.findings}, path);
  if (input.findings.size() > before) return;
  if (path.empty() && !input.value.text.empty()) {
    reject(input, "has no path after 'unix:'");
  } else if (path.size() > kMaxSocketPath) {
    reject(input, "is longer than " + std::to_string(kMaxSocketPath) +
                      " bytes, as an absolute path: no socket can have it");
  } else {
    out = std::move(path);
  }
}

void read_command(const Input& input, std::vector<std::string>& out) {
  if (input.value.kind != Kind::list) {
    reject_kind(input, R"(a list such as ["/usr/bin/program", "argument"])");
    return;
  }
  const auto& elements = input.value.elements;
  if (elements.size() > kMaxCommandParts) {
    reject(input, "has more than " + std::to_string(kMaxCommandParts) + " parts");
    return;
  }
  std::vector<std::string> command;
  for (const auto& element : elements) {
    const Input one{input.path, element, input.source, input.findings};
    std::string part;
    if (!(command.empty() ? read_program(one, part) : read_part(one, part))) return;
    command.push_back(std::move(part));
  }
  out = std::move(command);
}

void read_login_name(const Input& input, std::string& out) {
  std::string text;
  if (!read_text(input, text)) return;
  if (text.size() > kMaxLoginName) {
    reject(input, "is longer than " + std::to_string(kMaxLoginName) + " bytes");
    return;
  }
  out = std::move(text);
}

void read_account_name(const Input& input, std::string& out) {
  std::string name;
  const auto before = input.findings.size();
  read_login_name(input, name);
  if (input.findings.size() > before) return;
  if (name.empty()) {
    reject(input, R"(must not be empty; "*" is any name that has no row of its own)");
    return;
  }
  out = std::move(name);
}

}  // namespace starttls::config
