#pragma once

// What a configuration says before anyone knows what it means: values, and where they were written.
// load.cc makes them from TOML, flags.cc from a command line; the schema gives them their meaning.

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "lib/config/load.h"

namespace starttls::config {

/// Where something was written, ready to print, and its rank in the order of its source.
struct Place {
  std::string where;
  std::uint64_t rank = 0;
};

struct Value {
  enum class Kind : std::uint8_t {
    text,
    number,
    boolean,
    list,
    table,
    word,   ///< of a command line: its key says whether it is a text, a number or a boolean
    other,  ///< a kind that no key wants: `text` says which
  };

  Kind kind = Kind::other;
  Place place;
  std::string text;
  std::int64_t number = 0;
  bool boolean = false;
  std::vector<Value> elements;  ///< of a list, or the members of a table

  /// As a member of a table: its name, and where that stands.
  std::string key;
  Place key_place;
};

/// "a string", "a list": for people.
[[nodiscard]] std::string_view kind_name(const Value& value) noexcept;

/// Collects problems in any order.
class Findings {
 public:
  void add(const Place& place, std::string text) {
    found_.push_back({place.rank, {place.where, std::move(text)}});
  }
  [[nodiscard]] std::size_t size() const noexcept { return found_.size(); }
  /// All of them, in the order of the source.
  [[nodiscard]] Problems sorted() const;

 private:
  struct Found {
    std::uint64_t rank;
    Problem problem;
  };
  std::vector<Found> found_;
};

}  // namespace starttls::config
