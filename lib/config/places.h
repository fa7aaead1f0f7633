#pragma once

// The places of a configuration's values in its source. They are needed for problems that show up
// only in use, such as a key that does not belong to its certificate.

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "lib/config/problem.h"

namespace starttls::config {

struct Section;
struct Settings;
struct Value;

/// Names one value.
struct ValueName {
  std::optional<std::size_t> service;  ///< its index; nothing if the key is outside of all services
  std::string_view key;                ///< "log.file", "service.downstream.certificates.chain"
  std::size_t row = 0;                 ///< in a list of tables
};

/// The places of one source. `load_file`, `load_text` and `load_flags` fill it. Other code reads
/// it.
class Places {
 public:
  Places() = default;
  Places(const Settings& settings, bool from_file);

  /// Returns a problem with a value in the form that the loader uses. If the value was not written,
  /// the place is that of its service.
  [[nodiscard]] Problem problem(const ValueName& value, std::string_view text) const;
  /// Returns how messages call a value that means `name`. That is `name`, or the text as written if
  /// it holds "${...}".
  [[nodiscard]] std::string shown(const ValueName& value, std::string name) const;

 private:
  struct Written {
    std::optional<std::size_t> service;
    std::string key;
    std::size_t row = 0;
    std::string where;
    std::uint64_t rank = 0;
    std::optional<std::string> quoted;  ///< only if it holds "${...}"
  };

  void add(std::optional<std::size_t> service, const Section& section);
  void add(std::optional<std::size_t> service, const std::string& key, std::size_t row,
           const Value& value);
  [[nodiscard]] const Written* find(const ValueName& value) const noexcept;

  bool from_file_ = true;
  std::vector<Written> values_;
  std::vector<Written> services_;  ///< the sections themselves
};

}  // namespace starttls::config
