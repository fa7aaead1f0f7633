#pragma once

#include <cstdint>

namespace starttls::tls {

/// The side that we play in a handshake.
enum class Role : std::uint8_t { client, server };

}  // namespace starttls::tls
