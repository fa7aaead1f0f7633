#pragma once

// Makes a configuration from values. First each value is assigned to its key, then the key reads
// it. At the end the rules that several keys share are checked (validate.cc). This is the same for
// a file and for a command line.

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
  bool bad = false;  ///< there is a finding about it already
};

/// The settings of one `[[service]]`, or those outside of all services.
struct Section {
  Place place;
  std::vector<std::string> tables;  ///< those that are written, even if empty: "service.login"
  std::vector<Setting> settings;

  /// Returns nullptr if the key is not given.
  [[nodiscard]] const Setting* find(std::string_view path) const noexcept;
  /// True if the key is given, but its value is bad. The consequences of that are not worth a
  /// finding of their own.
  [[nodiscard]] bool is_bad(std::string_view path) const noexcept;
};

struct Settings {
  Section global;
  std::vector<Section> services;
};

/// Finds each value's key. A value without a key becomes a finding.
[[nodiscard]] Settings assign(const Value& root, Findings& findings);

/// Reads all settings into `config` and checks the whole. `places` may be null.
void build(Settings settings, const Source& source, Findings& findings, Config& config,
           Places* places);

/// Checks the rules that no key can check alone. `settings` has what was written and its places.
/// Service i of `config` is section i.
void validate(const Config& config, const Settings& settings, const Source& source,
              Findings& findings);

}  // namespace starttls::config
