#pragma once

// The options of stunnel 5, and how each is converted: one row per option.

#include <cstdint>
#include <string_view>

namespace starttls::stunnel {

/// How an option of stunnel is converted.
enum class Fate : std::uint8_t {
  read,  ///< by converter.cc
  held,  ///< its effect holds without it, or it has nothing to do here
  lost,  ///< a note says what is lost
};

struct Known {
  std::string_view name;
  Fate fate = Fate::read;
  std::string_view text = {};
};

/// Returns the row of an option, or null if stunnel has none of that name. The case of letters does
/// not matter.
[[nodiscard]] const Known* find_known(std::string_view name);

}  // namespace starttls::stunnel
