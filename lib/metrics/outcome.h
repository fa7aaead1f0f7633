#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "lib/base/error.h"

namespace starttls {

/// How a session ended: normally, cut inside a line, or by an error.
class Outcome {
 public:
  [[nodiscard]] static constexpr Outcome ok() noexcept { return Outcome{std::uint8_t{0}}; }
  [[nodiscard]] static constexpr Outcome truncated() noexcept { return Outcome{std::uint8_t{1}}; }
  // Not explicit: an error is an outcome.
  constexpr Outcome(Errc code) noexcept
      : index_(static_cast<std::uint8_t>(2 + static_cast<unsigned>(code))) {}

  /// Returns the outcome's number from 0, for tables. `kNames` has a name for each.
  [[nodiscard]] constexpr std::size_t index() const noexcept { return index_; }
  friend constexpr bool operator==(Outcome, Outcome) noexcept = default;

  static constexpr auto kNames = [] {
    std::array<std::string_view, 2 + kErrcCount> names{"ok", "truncated"};
    for (std::size_t i = 0; i < kErrcCount; ++i) names[2 + i] = name(static_cast<Errc>(i));
    return names;
  }();

 private:
  constexpr explicit Outcome(std::uint8_t index) noexcept : index_(index) {}

  std::uint8_t index_;
};

constexpr std::string_view name(Outcome outcome) noexcept {
  return Outcome::kNames[outcome.index()];
}

}  // namespace starttls
