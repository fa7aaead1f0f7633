#pragma once

// A problem of a configuration: its place and a text for people. Everything else in this folder may
// include this file.

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace starttls::config {

/// A place in a source, ready to print.
struct Place {
  std::string where;       ///< "FILE:LINE:COLUMN" or "--flag"
  std::uint64_t rank = 0;  ///< grows in the order of the source
};

/// One thing that is wrong, ready to print: "FILE:LINE:COLUMN: text" (or "--flag: text").
struct Problem {
  std::string where;
  std::string text;
  std::uint64_t rank = 0;  ///< as in Place
};

/// The problems of a configuration. If there are none, the configuration is usable.
using Problems = std::vector<Problem>;

/// Puts problems into the order of the source.
void sort(Problems& problems);

/// Collects problems in any order.
class Findings {
 public:
  void add(const Place& place, std::string text) {
    found_.push_back({place.where, std::move(text), place.rank});
  }
  [[nodiscard]] std::size_t size() const noexcept { return found_.size(); }
  /// Returns all of them in the order of the source.
  [[nodiscard]] Problems sorted() const;

 private:
  Problems found_;
};

}  // namespace starttls::config
