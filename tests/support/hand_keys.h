#pragma once

// TLS 1.3 records made by hand, since no library would send some of them. The code is
// written from the RFC, not from lib/tls.

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "lib/tls/boringssl.h"

namespace starttls::test {

inline constexpr std::uint16_t kAes128Gcm = 0x1301;
inline constexpr std::uint16_t kAes256Gcm = 0x1302;
inline constexpr std::uint16_t kChaCha20 = 0x1303;

/// Returns the size in bytes of a suite's hash, and so of its secrets.
std::size_t secret_size(std::uint16_t suite);

/// Content types (RFC 8446 §B.1).
namespace content {
inline constexpr std::uint8_t kChangeCipherSpec = 20;
inline constexpr std::uint8_t kAlert = 21;
inline constexpr std::uint8_t kHandshake = 22;
inline constexpr std::uint8_t kData = 23;
}  // namespace content

/// One direction of a connection, from its traffic secret.
class HandKeys {
 public:
  HandKeys(std::uint16_t suite, std::string secret, std::uint64_t sequence = 0);

  struct Inner {
    std::uint8_t type = 0;
    std::string content;
  };

  /// Returns a record of `inner` as it is. `inner` contains content, type and padding.
  std::string seal(std::string_view inner);
  std::string record(std::uint8_t type, std::string_view content, std::size_t padding = 0);
  std::string data(std::string_view content, std::size_t padding = 0) {
    return record(content::kData, content, padding);
  }
  /// Returns a KeyUpdate under the old keys. Records made after it are under the new ones.
  std::string key_update(bool requested);
  /// Cuts a record off `wire` and opens it. Returns nothing if there is none or it is not
  /// authentic.
  std::optional<Inner> open(std::string_view& wire);
  /// Moves to the next keys (RFC 8446 §7.2).
  void update();

 private:
  void derive();
  std::string expand(std::string_view label, std::size_t size) const;
  std::string nonce();

  std::uint16_t suite_;
  std::string secret_;
  std::uint64_t sequence_;
  std::string iv_;
  bssl::UniquePtr<EVP_AEAD_CTX> aead_;
};

/// Returns a handshake message: type, 24 bit length, body.
std::string message(std::uint8_t type, std::string_view body);
/// Returns a NewSessionTicket (RFC 8446 §4.6.1) with a ticket of that many bytes.
std::string new_session_ticket(std::size_t ticket_bytes = 32);

}  // namespace starttls::test
