#pragma once

// The PROXY protocol of HAProxy (proxy-protocol.txt of 2020/03/05), versions 1 and 2, both ways. A
// header before all other bytes of a connection gives the client for which the connection was made.
//
// The configuration decides if a connection begins with a header, never the connection's bytes (§2
// of that document). A trusted peer must begin with a header (`ProxyHeaderReader`). A peer that is
// not trusted must not (`ProxySignatureDetector`).

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "lib/base/error.h"
#include "lib/base/ip_endpoint.h"

namespace starttls::proto {

/// Maximum line of version 1, CRLF included (§2.1).
constexpr std::size_t kMaxProxyLine = 107;
/// Maximum bytes that a header of version 2 may announce after its 16 fixed bytes. The format
/// allows 65535.
constexpr std::size_t kMaxProxyBlock = 4096;
/// Maximum bytes that we write: the smallest segment that any host must accept (§2). Postfix reads
/// no further.
constexpr std::size_t kMaxWrittenProxyHeader = 536;

/// The facts in a header about its connection.
struct ProxyHeader {
  enum class Origin : std::uint8_t {
    relayed,  ///< made for a client with a known address
    unknown,  ///< made for an unknown client: v1 UNKNOWN; v2 unspecified, unix socket, datagrams
    local,    ///< v2 LOCAL: the proxy's own, a health check
  };
  Origin origin = Origin::unknown;
  std::uint8_t version = 1;
  /// Set only with `relayed`; otherwise the connection's own addresses hold. ::ffff:a.b.c.d comes
  /// as IPv4.
  IpEndpoint client = {};
  IpEndpoint destination = {};  ///< the address that the client dialled

  friend bool operator==(const ProxyHeader&, const ProxyHeader&) = default;
};

/// Reads the one header that a connection must begin with, in pieces of any size. Keeps the bytes
/// of it that it has consumed (at most 16 + kMaxProxyBlock bytes).
class ProxyHeaderReader {
 public:
  struct Step {
    /// The whole input while the header is incomplete; in the end no byte after the header.
    std::size_t consumed = 0;
    std::optional<ProxyHeader> header;  ///< nothing: it needs more
  };

  /// Reads the next piece. Must not be called again after a header or an error. Error:
  /// client_protocol, at the first byte that rules out a header. The contents of a line of version
  /// 1 are checked at its end, and those of a block of version 2 when it is whole.
  [[nodiscard]] Result<Step> feed(std::string_view input);

 private:
  [[nodiscard]] Result<> on_byte();
  [[nodiscard]] Result<> on_line_byte();
  [[nodiscard]] Result<> on_fixed_byte();

  std::string held_;
  std::size_t size_ = 0;  ///< of the whole header; 0: not known yet
};

/// The result of looking for a header in the first bytes of a connection.
enum class ProxySignature : std::uint8_t {
  no,
  maybe,  ///< so far they may
  yes,    ///< "PROXY " or the twelve bytes of version 2
};
[[nodiscard]] ProxySignature proxy_signature(std::string_view first_bytes) noexcept;

/// Finds a signature in bytes that come in pieces. No byte must be held back for it: the bytes that
/// have passed before `yes` are less than a signature. (An IMAP tag that is the word PROXY is
/// mistaken for one.)
class ProxySignatureDetector {
 public:
  /// Reads the next piece. A result of `yes` or `no` never changes again.
  ProxySignature feed(std::string_view input) noexcept;

 private:
  std::array<char, 12> first_{};
  std::uint8_t size_ = 0;
};

/// The TLS of the client's leg, for a server that wants to know it.
struct ProxyTls {
  enum class ClientCertificate : std::uint8_t {
    none,        ///< or one that was not verified
    connection,  ///< verified, shown in this connection's handshake
    session,     ///< verified, shown when the session that this connection resumes was made
  };
  std::string version = {};  ///< "TLSv1.3"
  std::string cipher = {};   ///< "ECDHE-RSA-AES128-GCM-SHA256"
  ClientCertificate certificate = ClientCertificate::none;
  /// The common name of that certificate's subject, UTF-8. Dovecot uses it as the user's name and
  /// checks nothing else. So it is written only if `certificate` says that it was verified.
  std::string common_name = {};
};

/// The facts that an upstream server gets.
struct ProxyFacts {
  /// If one of the two is unknown, the header says that both are: unix sockets.
  std::optional<IpEndpoint> client = {};
  std::optional<IpEndpoint> destination = {};  ///< the address that the client dialled
  std::optional<ProxyTls> tls = {};            ///< nothing: the client's leg is in the clear
  std::string server_name = {};                ///< SNI, as the client sent it; may be empty
  std::string alpn = {};                       ///< as negotiated; may be empty
};

/// Returns a header of version 1, which has the addresses only. If one is IPv4 and the other is
/// not, it is TCP6 with ::ffff:a.b.c.d, as in HAProxy. If one is missing, it is UNKNOWN, which
/// Postfix refuses.
[[nodiscard]] std::string write_proxy_v1(const ProxyFacts& facts);

/// Returns a header of version 2, at most kMaxWrittenProxyHeader bytes, to be sent at once.
/// Addresses are the same as in version 1. If one is missing, it is LOCAL, as in HAProxy, since
/// servers refuse a relayed connection without addresses. With `tls` it has the SSL vector; then
/// ALPN and SNI. A text that is too long to fit, or that has control characters (a receiver in C
/// would cut it at NUL), is left out.
[[nodiscard]] std::string write_proxy_v2(const ProxyFacts& facts);

}  // namespace starttls::proto
