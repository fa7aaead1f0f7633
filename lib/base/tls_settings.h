#pragma once

// Settings of TLS that the configuration holds and the TLS library uses.

#include <cstdint>
#include <string>

namespace starttls {

/// How much of a server's certificate is checked.
enum class Verification : std::uint8_t {
  full,  ///< the chain to a trusted root, and the name
  none,  ///< encrypt only
};

/// The code that opens and seals records after the handshake.
enum class RecordCodecChoice : std::uint8_t {
  automatic,  ///< our own code if it can (TLS 1.3), otherwise the library's
  library,    ///< always the library's
};

/// The setting for the cipher that our own code seals and opens records with.
enum class RecordCipherChoice : std::uint8_t {
  automatic,  ///< the faster one
  library,    ///< always the TLS library's
};

/// The implementation of AES-GCM for records.
enum class RecordCipher : std::uint8_t {
  library,       ///< the TLS library's
  multi_buffer,  ///< libipsec-mb's
};

/// The use of the post-quantum group towards servers.
enum class PostQuantum : std::uint8_t {
  automatic,  ///< offered if the TLS library has it, with its key share unless a server chokes on
              ///< it
  off,        ///< never offered
};

/// The abilities of the TLS library with the post-quantum group.
enum class PostQuantumSupport : std::uint8_t {
  none,
  with_key_share,  ///< a client that offers the group always sends its key share
  full,            ///< a client can offer the group without its key share
};

/// A certificate chain and its key. Both are paths of PEM files.
struct ChainAndKey {
  std::string chain;  ///< leaf first
  std::string key;    ///< refused if its group or others may read it

  friend bool operator==(const ChainAndKey&, const ChainAndKey&) = default;
};

}  // namespace starttls
