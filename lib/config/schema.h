#pragma once

// The keys: each is declared once, in the table of schema.cc. The loader, the search for unknown
// keys, the command line with its --help, and the test of conf/reference.toml all read that table.

#include <filesystem>
#include <span>
#include <string>
#include <string_view>

#include "lib/config/config.h"
#include "lib/config/value.h"

namespace starttls::config {

/// What reading a value needs to know besides the value.
struct Source {
  enum class Kind : std::uint8_t { file, flags };

  Kind kind = Kind::file;
  std::filesystem::path folder;  ///< relative paths start here; absolute
  std::span<const std::string_view> protocols;
};

/// A value on its way into the configuration.
struct Input {
  std::string_view path;  ///< as written: "service.timeouts.idle" or "timeouts.idle"; a flag's name
  const Value& value;
  const Source& source;
  Findings& findings;
};

/// Where values go. `timeouts.*` goes to a service as well: read from the file's own section, that
/// is the model of which all services begin as copies.
struct Output {
  Config& config;
  Service& service;
};

/// A member of the tables in another key's list is a key too, with its list's path before it:
/// "service.downstream.certificates.chain". A file has it in that list only, the command line as a
/// flag of its own.
struct Key {
  std::string_view path;     ///< "service.upstream.tls"
  std::string_view flag;     ///< "--upstream-tls"; "" = none
  std::string_view operand;  ///< what --help calls the flag's value
  std::string_view help;     ///< one line
  bool required = false;
  /// Checks the value and stores it; whatever is wrong becomes a finding.
  void (*read)(const Input& input, Output& target) = nullptr;
};

/// THE TABLE.
[[nodiscard]] std::span<const Key> keys() noexcept;

/// nullptr where there is none. "service.timeouts.X" is the key "timeouts.X".
[[nodiscard]] const Key* find_key(std::string_view path) noexcept;
[[nodiscard]] const Key* find_flag(std::string_view flag) noexcept;
/// Whether keys begin with `path` and a dot.
[[nodiscard]] bool is_section(std::string_view path) noexcept;

/// The text for a key that does not exist, with the nearest one that does.
[[nodiscard]] std::string unknown_key(std::string_view path);
/// The same for a flag; `others` are flags that exist besides those of the keys.
[[nodiscard]] std::string unknown_flag(std::string_view flag,
                                       std::span<const std::string_view> others = {});

}  // namespace starttls::config
