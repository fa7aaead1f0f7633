#pragma once

// What a configuration says before anyone knows what it means: values, and where they were written.
// load.cc makes them from TOML, flags.cc from a command line; the schema gives them their meaning.

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "lib/config/problem.h"

namespace starttls::config {

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
  /// `text` before its "${...}" were replaced; nothing where it had none. What took their place may
  /// be a secret, so this is what messages quote.
  std::optional<std::string> written;
  std::int64_t number = 0;
  bool boolean = false;
  std::vector<Value> elements;  ///< of a list, or the members of a table

  /// As a member of a table: its name, and where that stands.
  std::string key;
  Place key_place;
};

/// "a string", "a list": for people.
[[nodiscard]] std::string_view kind_name(const Value& value) noexcept;

/// The text in quotes, as written and fit to print.
[[nodiscard]] std::string quoted(const Value& value);
/// How messages call what `value` was read as: `name`, or the text as written where that holds
/// "${...}".
[[nodiscard]] std::string shown(const Value& value, std::string name);
/// The same for what was read as the one at `index` of `count` things that `value` names.
[[nodiscard]] std::string shown(const Value& value, std::size_t index, std::size_t count,
                                std::string name);

}  // namespace starttls::config
