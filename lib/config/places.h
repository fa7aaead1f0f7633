#pragma once

// Where the values of a configuration were written, for what shows only when they are put to use:
// a key that does not belong to its certificate.

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

/// One value.
struct ValueName {
  std::optional<std::size_t> service;  ///< its index; nothing: the key is of no service
  std::string_view key;                ///< "log.file", "service.downstream.certificates.chain"
  std::size_t row = 0;                 ///< of a list of tables
};

/// Of one source. `load_file` and its like fill it, all else reads.
class Places {
 public:
  Places() = default;
  Places(const Settings& settings, bool from_file);

  /// What is wrong with a value, as the loader would tell it. Where the value was not written, the
  /// place is its service's.
  [[nodiscard]] Problem problem(const ValueName& value, std::string_view text) const;
  /// How messages call a value that means `name`: like that, or, where it holds "${...}", as it is
  /// written.
  [[nodiscard]] std::string shown(const ValueName& value, std::string name) const;

 private:
  struct Written {
    std::optional<std::size_t> service;
    std::string key;
    std::size_t row = 0;
    std::string where;
    std::uint64_t rank = 0;
    std::optional<std::string> quoted;  ///< where it holds "${...}"
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
