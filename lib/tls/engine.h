#pragma once

// The TLS of one leg without I/O: ciphertext in, ciphertext and plaintext out.

#include <chrono>
#include <cstddef>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "lib/base/buffer.h"
#include "lib/base/error.h"
#include "lib/base/tls_group.h"
#include "lib/base/utc.h"
#include "lib/tls/certificate_info.h"
#include "lib/tls/client_facts.h"
#include "lib/tls/context.h"
#include "lib/tls/record_codec.h"

namespace starttls::tls {

/// Facts about a leg's TLS, for the session line.
struct Facts {
  std::string version;                     ///< "TLSv1.3"
  TlsVersion number = TlsVersion::tls1_3;  ///< the same, for counters
  std::string cipher;                      ///< "TLS_AES_128_GCM_SHA256"
  TlsGroup group = TlsGroup::other;
  bool resumed = false;
  /// Client role: the end of the server's certificate. Only after a full handshake, since a resumed
  /// one shows no certificate.
  std::optional<UnixTime> server_certificate_end = {};
  /// Client role: the post-quantum group was offered without its key share, because the server had
  /// not answered a ClientHello with it.
  bool key_share_withheld = false;
  /// With Verification::none: the subject that the server's certificate claims, escaped. Proves
  /// nothing.
  std::string unverified_subject;
};

/// Maximum bytes that one call of `handshake` writes: the largest flight is a server's certificate
/// chain.
inline constexpr std::size_t kHandshakeRoom = 65536;

/// One leg's TLS, from its handshake to its close_notify. Not thread-safe; lives on its worker, and
/// uses the worker's pool for a record that a read has cut. Memory: an established, idle engine
/// holds its keys and no payload. With TLS 1.2, or with the library's own record layer, it also
/// holds what the library needs (3.1 KB).
class Engine {
 public:
  /// Makes an engine of the client role, towards a server. `server` is the server's address as
  /// text. Sessions with that address are resumed, and its silence after a ClientHello is
  /// remembered; with "" neither is. `peer_name` is the SNI sent and the name verified (a DNS name
  /// or an IP address; addresses are not sent as SNI, RFC 6066 §3). It comes from configuration,
  /// never from the peer or DNS. Errors: config (no name to verify, or not a name), system (out of
  /// memory).
  [[nodiscard]] static Result<std::unique_ptr<Engine>> client(
      std::shared_ptr<const Context> context, BufferPool& pool, std::string peer_name,
      std::string_view server = {});
  /// Makes an engine of the server role, towards a client. Errors: system (out of memory).
  [[nodiscard]] static Result<std::unique_ptr<Engine>> server(
      std::shared_ptr<const Context> context, BufferPool& pool);

  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;
  ~Engine();

  struct Handshake {
    std::size_t consumed = 0;
    bool done = false;
  };
  /// Continues the handshake; the first call has empty input. Input that is not consumed when the
  /// handshake is done belongs to `open`; before that all of it is consumed. `out` must have
  /// `kHandshakeRoom` free. Errors: handshake (the library's reason, the alert), certificate (the
  /// reason in plain words; evidence: subject, issuer, names). On an error `out` may hold an alert.
  [[nodiscard]] Result<Handshake> handshake(std::span<const std::byte> wire, WireOut& out);

  /// Remembers a server that has not sent a byte since a ClientHello with a post-quantum key share.
  /// Returns true if it did, so that the next engine for this server sends a smaller ClientHello.
  /// Call it if the handshake has failed. Client role.
  [[nodiscard]] bool note_unanswered_hello();

  /// Opens records after the handshake; see RecordCodec, also for `seal` and `close`.
  [[nodiscard]] Result<> open(std::span<const std::byte> wire, std::span<std::byte> plain,
                              WireOut& out, OpenedRecords& opened);
  [[nodiscard]] Result<> seal(std::span<const std::byte> plain, WireOut& out);
  void close(WireOut& out) noexcept;

  [[nodiscard]] bool established() const noexcept;
  /// Returns why the client is not accepted (Errc::certificate), although its TLS is established.
  /// Null if it is accepted. Server role, after the handshake.
  [[nodiscard]] const Error* refusal() const noexcept;

  /// Returns the facts about the client; empty before the handshake is done. Server role.
  [[nodiscard]] const ClientFacts& client_facts() const noexcept;
  /// Returns the name that the client asks for (SNI) as it was sent; "" if it sent none. It is also
  /// known if the handshake has failed after the ClientHello. Server role.
  [[nodiscard]] std::string_view wanted_name() const noexcept;

  /// Keeps the chain for `peer_chain`. Client role, before the handshake.
  void keep_peer_chain() noexcept;
  /// Returns the chain as the server sent it, accepted or not; empty before it came.
  [[nodiscard]] const std::vector<CertificateInfo>& peer_chain() const noexcept;
  /// Returns the facts; valid after the handshake.
  [[nodiscard]] Facts facts() const;

 private:
  struct Impl;
  explicit Engine(std::unique_ptr<Impl> impl) noexcept;
  std::unique_ptr<Impl> impl_;
};

}  // namespace starttls::tls
