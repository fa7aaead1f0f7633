#pragma once

// Two ends of TLS that talk in memory: our Engine, and the bare library in the role of another
// program. The bare library can be set up in ways that the Engine refuses (old versions, CBC
// suites, tickets).

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "lib/base/buffer.h"
#include "lib/base/error.h"
#include "lib/tls/boringssl.h"
#include "lib/tls/engine.h"
#include "tests/support/temporary_folder.h"
#include "tools/pki/pki.h"

namespace starttls::test {

/// A folder for certificates and keys.
struct PkiFolder : TemporaryFolder {
  using TemporaryFolder::write;
  /// Writes NAME.pem and NAME.key.
  [[nodiscard]] ChainAndKey write(const std::string& name, const pki::Identity& id) const;
};

inline bool has(std::string_view text, std::string_view part) {
  return text.find(part) != std::string_view::npos;
}

/// One end of a connection. `in` contains the bytes that have arrived; used bytes are removed from
/// it.
class TlsEnd {
 public:
  TlsEnd() = default;
  TlsEnd(const TlsEnd&) = delete;
  TlsEnd& operator=(const TlsEnd&) = delete;
  virtual ~TlsEnd() = default;

  struct Received {
    std::string plain;
    bool close_notify = false;
    std::optional<Error> error;
  };

  /// Returns true when done.
  virtual Result<bool> handshake(std::string& in, std::string& out) = 0;
  virtual std::string seal(std::string_view plain) = 0;
  virtual Received receive(std::string& in) = 0;
  virtual std::string close() = 0;
};

/// Returns the buffers of the calling thread's engines.
BufferPool& worker_pool();

class EngineEnd final : public TlsEnd {
 public:
  explicit EngineEnd(std::unique_ptr<tls::Engine> engine) : engine_(std::move(engine)) {}

  Result<bool> handshake(std::string& in, std::string& out) override;
  std::string seal(std::string_view plain) override;
  Received receive(std::string& in) override;
  std::string close() override;

  /// Sets the room for plaintext that one call of `open` gets. With a small room, bytes stay in the
  /// engine.
  void set_plain_room(std::size_t bytes) { plain_room_ = bytes; }
  tls::Engine& engine() { return *engine_; }

 private:
  std::unique_ptr<tls::Engine> engine_;
  std::size_t plain_room_ = std::size_t{256} << 10U;
};

struct LibraryOptions {
  std::uint16_t min_version = TLS1_VERSION;
  std::uint16_t max_version = TLS1_3_VERSION;
  std::string ciphers = {};                        ///< "" = the library's own
  std::vector<std::uint16_t> verify_schemes = {};  ///< signature_algorithms of a client
  std::vector<std::uint16_t> signing_schemes =
      {};                                         ///< what it signs with; empty: the library's own
  std::string server_name = {};                   ///< SNI of a client
  std::vector<std::string> alpn = {};             ///< what a client offers
  SSL_SESSION* session = nullptr;                 ///< a client offers to resume it; not owned
  std::optional<pki::Identity> certificate = {};  ///< of a client
  bool asks_for_certificate = false;              ///< a server that refuses clients without one
};

/// The bare library. All its servers have the same ticket keys: they resume each other's sessions.
class LibraryEnd final : public TlsEnd {
 public:
  static std::unique_ptr<LibraryEnd> client(const LibraryOptions& options);
  static std::unique_ptr<LibraryEnd> server(const pki::Identity& identity,
                                            const LibraryOptions& options);

  Result<bool> handshake(std::string& in, std::string& out) override;
  std::string seal(std::string_view plain) override;
  Received receive(std::string& in) override;
  std::string close() override;

  SSL* ssl() { return ssl_.get(); }
  std::string drain();  ///< what the library wants to send
  /// Returns the common name in the peer's leaf certificate.
  std::string peer_common_name();
  /// Returns the newest session that a client can resume, or null if there is none.
  [[nodiscard]] SSL_SESSION* session() const { return session_.get(); }
  [[nodiscard]] bool resumed() const { return SSL_session_reused(ssl_.get()) == 1; }
  /// Returns the SNI that the client sent, or "" if it sent none. Kept from the ClientHello.
  [[nodiscard]] const std::string& server_name() const { return server_name_; }

 private:
  explicit LibraryEnd(const LibraryOptions& options);
  void feed(std::string& in);
  void use(const pki::Identity& identity);

  bssl::UniquePtr<SSL_CTX> ctx_;
  bssl::UniquePtr<SSL_SESSION> session_;
  bssl::UniquePtr<SSL> ssl_;
  std::string server_name_;
};

struct HandshakeResult {
  bool done = false;  ///< both ends
  std::optional<Error> client_error;
  std::optional<Error> server_error;
  std::string to_client;  ///< arrived after the handshake and not yet used
  std::string to_server;
};

/// Runs the handshake. At most `segment` bytes go in each direction at a time.
HandshakeResult shake_hands(TlsEnd& client, TlsEnd& server,
                            std::size_t segment = std::size_t{1} << 20U);

/// A root, an intermediate and a good server certificate. Made only once, since keys take time.
struct TestPki {
  pki::Identity root;
  pki::Identity ca;
  pki::Identity server;      ///< ECDSA: localhost, mail.test, 127.0.0.1, ::1
  pki::Identity server_rsa;  ///< the same names
};
const TestPki& test_pki();

/// Returns the options of `TestPki::server`, for tests to change.
pki::CertificateOptions server_options();

}  // namespace starttls::test
