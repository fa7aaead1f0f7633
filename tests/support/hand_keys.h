#pragma once

// TLS 1.3 records by hand, for what no library would send: written from the RFC, not from lib/tls.

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

/// Octets of a suite's hash, and so of its secrets.
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

  /// A record of `inner` as it stands: content, type and padding are in it.
  std::string seal(std::string_view inner);
  std::string record(std::uint8_t type, std::string_view content, std::size_t padding = 0);
  std::string data(std::string_view content, std::size_t padding = 0) {
    return record(content::kData, content, padding);
  }
  /// A KeyUpdate under the old keys; what comes after it is under the new ones.
  std::string key_update(bool requested);
  /// Cuts a record off `wire` and opens it; nothing where there is none or it is not authentic.
  std::optional<Inner> open(std::string_view& wire);
  /// RFC 8446 §7.2.
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

/// A handshake message: type, 24 bit length, body.
std::string message(std::uint8_t type, std::string_view body);
/// A NewSessionTicket (RFC 8446 §4.6.1) whose ticket is of that many octets.
std::string new_session_ticket(std::size_t ticket_octets = 32);

}  // namespace starttls::test
