#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace starttls {

/// A side of a session. Downstream is the client's, upstream the server's.
enum class Side : std::uint8_t { downstream, upstream };

inline constexpr std::string_view kSideNames[] = {"downstream", "upstream"};

constexpr std::string_view name(Side side) noexcept {
  return kSideNames[static_cast<std::size_t>(side)];
}

}  // namespace starttls
