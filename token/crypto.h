#pragma once

// The little cryptography that this program needs besides TLS. Only crypto.cc includes GnuTLS.

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "token/failure.h"

namespace starttls::token {

[[nodiscard]] std::vector<std::uint8_t> sha256(std::string_view text);

/// Signature algorithms of JWS (RFC 7518 §3.1) that a client may use.
enum class Algorithm : std::uint8_t { rs256, ps256, es256 };

inline constexpr std::string_view kAlgorithmNames[] = {"RS256", "PS256", "ES256"};

[[nodiscard]] constexpr std::string_view name(Algorithm algorithm) noexcept {
  return kAlgorithmNames[static_cast<std::size_t>(algorithm)];
}

/// Returns the algorithm that a private key (PEM, without password) is used with. `wanted` is a
/// name, or "": PS256 for RSA, ES256 for P-256. Errors: config.
[[nodiscard]] Outcome<Algorithm> algorithm_for(std::string_view key_pem, std::string_view wanted);

/// Signs `text`. Returns the signature as JWS writes it (RFC 7518 §3). Errors: config.
[[nodiscard]] Outcome<std::vector<std::uint8_t>> sign(std::string_view key_pem, Algorithm algorithm,
                                                      std::string_view text);

/// Returns SHA-256 of the first certificate in a PEM text, in DER (RFC 7515 §4.1.8). Checks that
/// it belongs to the key. Errors: config.
[[nodiscard]] Outcome<std::vector<std::uint8_t>> certificate_digest(
    std::string_view certificate_pem, std::string_view key_pem);

}  // namespace starttls::token
