#pragma once

#include <cstdint>
#include <string_view>

namespace starttls {

/// How a leg is secured. Upstream, `opportunistic` means STARTTLS if the server offers it,
/// otherwise no TLS. Downstream it means that STARTTLS is offered and the client chooses. With
/// `starttls`, STARTTLS is required.
enum class TlsMode : std::uint8_t { none, opportunistic, starttls, implicit };

inline constexpr std::string_view kTlsModeNames[] = {"none", "opportunistic", "starttls",
                                                     "implicit"};

constexpr std::string_view name(TlsMode mode) noexcept {
  return kTlsModeNames[static_cast<std::size_t>(mode)];
}

}  // namespace starttls
