#pragma once

// From values to a configuration: which key each value belongs to, what the keys make of them, and
// the rules that several keys share (validate.cc). The same for a file and for a command line.

#include <string>
#include <string_view>
#include <vector>

#include "lib/config/config.h"
#include "lib/config/places.h"
#include "lib/config/problem.h"
#include "lib/config/schema.h"
#include "lib/config/value.h"

namespace starttls::config {

struct Setting {
  const Key* key = nullptr;
  std::string path;  ///< as written; see Input
  Value value;
  bool bad = false;  ///< something was wrong with it and has been found
};

/// What stands in one `[[service]]`, or outside of all.
struct Section {
  Place place;
  std::vector<Setting> settings;

  /// nullptr where the key is not given.
  [[nodiscard]] const Setting* find(std::string_view path) const noexcept;
  /// Whether the key is given, but no good: its consequences are not worth a finding of their own.
  [[nodiscard]] bool is_bad(std::string_view path) const noexcept;
};

struct Settings {
  Section global;
  std::vector<Section> services;
};

/// Finds each value's key; what has none is a finding.
[[nodiscard]] Settings assign(const Value& root, Findings& findings);

/// Reads all settings into `config` and checks the whole. `places` may be null.
void build(Settings settings, const Source& source, Findings& findings, Config& config,
           Places* places);

/// The rules that no key can check alone. `settings` say what was written where; service i of
/// `config` is section i.
void validate(const Config& config, const Settings& settings, const Source& source,
              Findings& findings);

}  // namespace starttls::config
