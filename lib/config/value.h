#pragma once

// The values of a configuration and their places, without their meaning. load.cc makes them from
// TOML, flags.cc from a command line. The schema gives them their meaning. Some of them are
// secrets, so each wipes its text when it goes.

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "lib/base/secret.h"
#include "lib/config/problem.h"

namespace starttls::config {

struct Value {
  Value() = default;
  Value(const Value&) = default;
  Value(Value&&) = default;
  Value& operator=(const Value&) = default;
  Value& operator=(Value&&) = default;
  ~Value() { wipe(text); }

  enum class Kind : std::uint8_t {
    text,
    number,
    boolean,
    list,
    table,
    word,   ///< of a command line; its key decides if it is a text, a number or a boolean
    other,  ///< a kind that no key accepts; `text` says which
  };

  Kind kind = Kind::other;
  Place place;
  std::string text;
  /// `text` before its "${...}" were replaced; nothing if it had none. The replacement may be a
  /// secret, so messages quote this text.
  std::optional<std::string> written;
  std::int64_t number = 0;
  bool boolean = false;
  std::vector<Value> elements;  ///< of a list, or the members of a table

  /// Returns the member of a table with this name, or nullptr.
  [[nodiscard]] const Value* member(std::string_view name) const noexcept;

  /// For a member of a table: its name, and the place of the name.
  std::string key;
  Place key_place;
};

/// Returns the kind in words for people: "a string", "a list".
[[nodiscard]] std::string_view kind_name(const Value& value) noexcept;

/// Returns the text in quotes, as written and fit to print.
[[nodiscard]] std::string quoted(const Value& value);
/// Returns how messages call the result of reading `value`. That is `name`, or the text as written
/// if it holds "${...}".
[[nodiscard]] std::string shown(const Value& value, std::string name);
/// Returns the same for the thing at `index` of the `count` things that were read from `value`.
[[nodiscard]] std::string shown(const Value& value, std::size_t index, std::size_t count,
                                std::string name);

}  // namespace starttls::config
