#pragma once

// TLS of one leg without I/O: ciphertext in, ciphertext and plaintext out.

#include <chrono>
#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "lib/base/buffer.h"
#include "lib/base/error.h"
#include "lib/tls/certificate_info.h"
#include "lib/tls/context.h"
#include "lib/tls/record_codec.h"

namespace starttls::tls {

/// What the session line says of a leg's TLS.
struct Facts {
  std::string version;                     ///< "TLSv1.3"
  TlsVersion number = TlsVersion::tls1_3;  ///< the same, for whoever counts
  std::string cipher;                      ///< "TLS_AES_128_GCM_SHA256"
  bool resumed = false;
  /// With Verification::none: whom the server's certificate claims to be, escaped. Proves nothing.
  std::string unverified_subject;
};

/// What a client has told of itself and of the server that it wants, for that server.
struct ClientFacts {
  std::string server_name;       ///< SNI as it was sent; "" = none
  std::string alpn;              ///< as negotiated; "" = none
  std::string cipher;            ///< as OpenSSL calls it: "ECDHE-RSA-AES128-GCM-SHA256"
  bool has_certificate = false;  ///< one that was verified
  std::string common_name;       ///< of that certificate, UTF-8; "" unless it has exactly one
};

/// What one call of `handshake` writes at most: the largest flight is a server's certificate chain.
inline constexpr std::size_t kHandshakeRoom = 65536;

/// One leg's TLS, from its handshake to its close_notify. Not thread-safe; lives on its worker,
/// whose pool it uses for a record that a read has cut. Memory: an established, idle engine holds
/// its keys and no payload; with TLS 1.2, or where the library's own record layer is used, what the
/// library needs (3.1 KB).
class Engine {
 public:
  /// Client role, towards a server. `server` says where it is (an address as text): sessions with
  /// it are resumed; "" = none is. `peer_name` is the SNI sent and the name verified (a DNS name or
  /// an IP address; addresses are not sent as SNI, RFC 6066 §3). It comes from configuration, never
  /// from the peer or DNS.
  [[nodiscard]] static Result<std::unique_ptr<Engine>> client(
      std::shared_ptr<const Context> context, BufferPool& pool, std::string peer_name,
      std::string_view server = {});
  /// Server role, towards a client.
  [[nodiscard]] static Result<std::unique_ptr<Engine>> server(
      std::shared_ptr<const Context> context, BufferPool& pool);

  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;
  ~Engine();

  struct Handshake {
    std::size_t consumed = 0;
    bool done = false;
  };
  /// Goes on with the handshake; called first with empty input. Input that is not consumed when it
  /// is done belongs to `open`; before that all of it is consumed. `out` must have `kHandshakeRoom`
  /// free. Errors: handshake (the library's reason, the alert), certificate (the reason in plain
  /// words; evidence: subject, issuer, names). On an error `out` may hold an alert.
  [[nodiscard]] Result<Handshake> handshake(std::span<const std::byte> wire, WireOut& out);

  /// After the handshake; see RecordCodec.
  [[nodiscard]] Result<> open(std::span<const std::byte> wire, std::span<std::byte> plain,
                              WireOut& out, OpenedRecords& opened);
  [[nodiscard]] Result<> seal(std::span<const std::byte> plain, WireOut& out);
  void close(WireOut& out) noexcept;

  [[nodiscard]] bool established() const noexcept;
  /// Server role, after the handshake: why the client is not accepted (Errc::certificate), though
  /// its TLS is up. Null where it is.
  [[nodiscard]] const Error* refusal() const noexcept;

  /// Server role, before the handshake: keep what `take_client_facts` tells.
  void keep_client_facts();
  /// Server role, after the handshake, once; empty where nothing was kept.
  [[nodiscard]] ClientFacts take_client_facts();

  /// Client role, before the handshake: keep what `peer_chain` tells.
  void keep_peer_chain() noexcept;
  /// As the server sent it, accepted or not; empty before it came.
  [[nodiscard]] const std::vector<CertificateInfo>& peer_chain() const noexcept;
  /// After the handshake.
  [[nodiscard]] Facts facts() const;

 private:
  struct Impl;
  explicit Engine(std::unique_ptr<Impl> impl) noexcept;
  std::unique_ptr<Impl> impl_;
};

}  // namespace starttls::tls
