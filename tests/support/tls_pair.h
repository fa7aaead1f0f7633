#pragma once

// Two ends of TLS that talk in memory: our Engine, and the bare library as somebody else's program,
// which can be set up in ways that the Engine refuses (old versions, CBC suites, tickets).

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
  /// NAME.pem and NAME.key.
  [[nodiscard]] ChainAndKey write(const std::string& name, const pki::Identity& id) const;
};

inline bool has(std::string_view text, std::string_view part) {
  return text.find(part) != std::string_view::npos;
}

/// One end of a connection. `in` is what has arrived; what is used up is taken out of it.
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

  /// True when done.
  virtual Result<bool> handshake(std::string& in, std::string& out) = 0;
  virtual std::string seal(std::string_view plain) = 0;
  virtual Received receive(std::string& in) = 0;
  virtual std::string close() = 0;
};

/// The buffers of the calling thread's engines.
BufferPool& worker_pool();

class EngineEnd final : public TlsEnd {
 public:
  explicit EngineEnd(std::unique_ptr<tls::Engine> engine) : engine_(std::move(engine)) {}

  Result<bool> handshake(std::string& in, std::string& out) override;
  std::string seal(std::string_view plain) override;
  Received receive(std::string& in) override;
  std::string close() override;

  /// Room for plaintext that one call of `open` gets; small ones show what is kept inside.
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
      {};                              ///< what it signs with; empty: the library's own
  std::string server_name = {};        ///< SNI of a client
  std::vector<std::string> alpn = {};  ///< what a client offers
  SSL_SESSION* session = nullptr;      ///< that a client offers to resume; not taken over
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
  /// Subject of the peer's leaf.
  std::string peer_common_name();
  /// The newest session that a client can resume; null where it has none.
  [[nodiscard]] SSL_SESSION* session() const { return session_.get(); }
  [[nodiscard]] bool resumed() const { return SSL_session_reused(ssl_.get()) == 1; }
  /// SNI that the client sent; "" where it sent none. Kept from the ClientHello.
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

struct Outcome {
  bool done = false;  ///< both ends
  std::optional<Error> client_error;
  std::optional<Error> server_error;
  std::string to_client;  ///< arrived behind the handshake and not yet used
  std::string to_server;
};

/// Runs the handshake, at most `segment` octets at a time in each direction.
Outcome shake_hands(TlsEnd& client, TlsEnd& server, std::size_t segment = std::size_t{1} << 20U);

/// A root, an intermediate and a good server certificate; made once, since keys take time.
struct TestPki {
  pki::Identity root;
  pki::Identity ca;
  pki::Identity server;      ///< ECDSA: localhost, mail.test, 127.0.0.1, ::1
  pki::Identity server_rsa;  ///< the same names
};
const TestPki& test_pki();

/// The options of `TestPki::server`, to be varied.
pki::CertificateOptions server_options();

}  // namespace starttls::test
