#pragma once

// The PROXY protocol of HAProxy (proxy-protocol.txt of 2020/03/05), versions 1 and 2, both ways: a
// header ahead of all other octets of a connection says on whose behalf it was made.
//
// Whether a connection begins with one is for the configuration to say, never for its octets (§2 of
// that document): a peer that is believed has to begin with a header (`ProxyHeaderReader`), and one
// that is not believed may not (`ProxySignatureDetector`).

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "lib/base/error.h"
#include "lib/base/ip_endpoint.h"

namespace starttls::proto {

/// §2.1, CRLF included.
constexpr std::size_t kMaxProxyLine = 107;
/// What a header of version 2 may announce behind its 16 fixed octets. The format allows 65535.
constexpr std::size_t kMaxProxyBlock = 4096;
/// What we write: the smallest segment that any host has to take (§2). Postfix looks no further.
constexpr std::size_t kMaxWrittenProxyHeader = 536;

/// What a header says of its connection.
struct ProxyHeader {
  enum class Origin : std::uint8_t {
    relayed,  ///< made for a client whose address is known
    unknown,  ///< made for somebody: v1 UNKNOWN; v2 unspecified, unix socket, datagrams
    local,    ///< v2 LOCAL: the proxy's own, a health check
  };
  Origin origin = Origin::unknown;
  std::uint8_t version = 1;
  /// Of `relayed` only; else the connection's own addresses hold. ::ffff:a.b.c.d comes as IPv4.
  IpEndpoint client = {};
  IpEndpoint destination = {};  ///< what the client dialled

  friend bool operator==(const ProxyHeader&, const ProxyHeader&) = default;
};

/// Reads the one header that a connection has to begin with, in pieces of any size. Keeps what it
/// has consumed of it (at most 16 + kMaxProxyBlock octets).
class ProxyHeaderReader {
 public:
  struct Step {
    /// All of the input until the header is whole; then not one octet behind it.
    std::size_t consumed = 0;
    std::optional<ProxyHeader> header;  ///< nothing: it needs more
  };

  /// Not to be called again after a header or an error. Error: client_protocol, at the first octet
  /// from which no header can come any more; what is inside a line of version 1 is judged at its
  /// end, and inside a block of version 2 when it is whole.
  [[nodiscard]] Result<Step> feed(std::string_view input);

 private:
  [[nodiscard]] Result<> on_octet();
  [[nodiscard]] Result<> on_line_octet();
  [[nodiscard]] Result<> on_fixed_octet();

  std::string held_;
  std::size_t size_ = 0;  ///< of the whole header; 0: not known yet
};

/// Do these first octets of a connection begin a header?
enum class ProxySignature : std::uint8_t {
  no,
  maybe,  ///< so far they may
  yes,    ///< "PROXY " or the twelve octets of version 2
};
[[nodiscard]] ProxySignature proxy_signature(std::string_view first_octets) noexcept;

/// The same for octets that come in pieces. Nothing has to be held back for it: what went by before
/// `yes` is less than a signature. (An IMAP tag that is the word PROXY is taken for one.)
class ProxySignatureDetector {
 public:
  /// Once it is `yes` or `no` it stays so.
  ProxySignature feed(std::string_view input) noexcept;

 private:
  std::array<char, 12> first_{};
  std::uint8_t size_ = 0;
};

/// The TLS of the client's leg, for a server that wants to know.
struct ProxyTls {
  enum class ClientCertificate : std::uint8_t {
    none,        ///< or one that was not verified
    connection,  ///< verified, shown in this connection's handshake
    session,     ///< verified, shown when the session was made that this connection resumes
  };
  std::string version = {};  ///< "TLSv1.3"
  std::string cipher = {};   ///< "ECDHE-RSA-AES128-GCM-SHA256"
  ClientCertificate certificate = ClientCertificate::none;
  /// Of that certificate's subject, UTF-8. Dovecot takes it for the user's name without a look at
  /// anything else; so it is written only where `certificate` says that it was verified.
  std::string common_name = {};
};

/// What an upstream server is told.
struct ProxyFacts {
  /// Both known, or the header says that nothing is: unix sockets.
  std::optional<IpEndpoint> client = {};
  std::optional<IpEndpoint> destination = {};  ///< what the client dialled
  std::optional<ProxyTls> tls = {};            ///< nothing: the client's leg is in the clear
  std::string server_name = {};                ///< SNI, as the client sent it; may be empty
  std::string alpn = {};                       ///< as negotiated; may be empty
};

/// Version 1, which has the addresses only. Where one is IPv4 and the other is not, TCP6 with
/// ::ffff:a.b.c.d, as HAProxy does; where one is missing, UNKNOWN, which Postfix refuses.
[[nodiscard]] std::string write_proxy_v1(const ProxyFacts& facts);

/// Version 2, at most kMaxWrittenProxyHeader octets, to be sent at once. Addresses as in version 1;
/// where one is missing, LOCAL, as HAProxy does, since servers refuse a relayed connection of no
/// address. With `tls` the SSL vector; then ALPN and SNI. A text that is too long to fit, or that
/// holds control characters (a receiver in C would cut it at NUL), is left out.
[[nodiscard]] std::string write_proxy_v2(const ProxyFacts& facts);

}  // namespace starttls::proto
