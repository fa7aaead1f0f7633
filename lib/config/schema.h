#pragma once

// The keys. Each is declared once, in the table of schema.cc. The readers of that table are the
// loader, the search for unknown keys, and the command line with its --help. The test of
// conf/reference.toml reads it too.

#include <filesystem>
#include <span>
#include <string>
#include <string_view>

#include "lib/config/config.h"
#include "lib/config/value.h"

namespace starttls::config {

/// Facts that reading a value needs besides the value.
struct Source {
  enum class Kind : std::uint8_t { file, flags };

  Kind kind = Kind::file;
  std::filesystem::path folder;  ///< relative paths start here; absolute
  std::span<const std::string_view> protocols;
};

/// A value on its way into the configuration.
struct Input {
  /// As written: "service.timeouts.idle" or "timeouts.idle". For a flag, the path of its key.
  std::string_view path;
  const Value& value;
  const Source& source;
  Findings& findings;
};

/// The destination of values. `timeouts.*` goes to a service too. If it is in the file's own
/// section, that service is the model. All services begin as copies of the model.
struct Output {
  Config& config;
  Service& service;
};

/// A row of the table of keys. A member of the tables in another key's list is a key too, with its
/// list's path before it: "service.downstream.certificates.chain". A file has it only in that list.
/// The command line has a flag of its own for it.
struct Key {
  std::string_view path;     ///< "service.upstream.tls"
  std::string_view flag;     ///< "--upstream-tls"; "" = none
  std::string_view operand;  ///< the name of the flag's value in --help
  std::string_view help;     ///< one line
  bool required = false;
  /// Checks the value and stores it. Each problem with it becomes a finding.
  void (*read)(const Input& input, Output& target) = nullptr;
};

/// Returns the table of all keys.
[[nodiscard]] std::span<const Key> keys() noexcept;

/// Returns nullptr if there is none. "service.timeouts.X" is the key "timeouts.X".
[[nodiscard]] const Key* find_key(std::string_view path) noexcept;
[[nodiscard]] const Key* find_flag(std::string_view flag) noexcept;
/// True if keys begin with `path` and a dot.
[[nodiscard]] bool is_section(std::string_view path) noexcept;

}  // namespace starttls::config
