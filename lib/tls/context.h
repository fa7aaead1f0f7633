#pragma once

// Immutable TLS settings, shared by all workers. No <openssl/...> in sight: only lib/tls knows the
// library.

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "lib/base/error.h"
#include "lib/base/pin.h"
#include "lib/base/tls_settings.h"
#include "lib/base/tls_version.h"
#include "lib/base/utc.h"

namespace starttls::tls {

struct ClientOptions {
  Verification verification = Verification::full;
  std::string ca_file = {};  ///< PEM; "" = the system's trust store
  /// Where there are any, one must be met; with Verification::none they alone decide.
  std::vector<Pin> pins = {};
  std::optional<ChainAndKey> certificate = std::nullopt;  ///< ours, for servers that ask for one
  TlsVersion min_version = TlsVersion::tls1_2;
  TlsVersion max_version =
      TlsVersion::tls1_3;  ///< benchmarks compare versions; nothing else lowers it
  RecordCodecChoice record_codec = RecordCodecChoice::automatic;
};

struct ServerOptions {
  std::vector<ChainAndKey> certificates = {};  ///< chosen by SNI; the first is the default
  /// PEM; not "": clients must show a certificate from one of these CAs. Whoever does not is told
  /// so inside TLS: `Engine::refusal`.
  std::string client_ca = {};
  std::string ticket_keys = {};  ///< file, see TicketKeys::read; "" = the process's own
  /// ALPN identifiers of the protocol (RFC 7301): a client that offers a list must offer one of
  /// them. Empty: ALPN is ignored.
  std::vector<std::string> alpn = {};
  TlsVersion min_version = TlsVersion::tls1_2;
  RecordCodecChoice record_codec = RecordCodecChoice::automatic;
};

/// A certificate of ours, the chain's first.
struct OwnCertificate {
  std::string chain;  ///< the file that it was read from
  UnixTime not_before;
  UnixTime not_after;
  std::string names;      ///< "a.example, 192.0.2.1": printable ASCII, bounded
  std::string issuer;     ///< escaped
  unsigned rsa_bits = 0;  ///< of an RSA key, 0 for others
};

/// Settings of one leg's TLS, made once from configuration. Thread-safe after creation.
class Context {
 public:
  /// Errors: config (unreadable or empty CA file, PEM that does not parse), with the file's name.
  [[nodiscard]] static Result<std::shared_ptr<const Context>> client(const ClientOptions& options);
  /// Errors: config (unreadable file, key that does not belong to its certificate, key readable by
  /// others), with the file's name.
  [[nodiscard]] static Result<std::shared_ptr<const Context>> server(const ServerOptions& options);

  /// Equal where all that decides whom the client role trusts is: options, and contents of files.
  /// Of two such contexts the older one is worth keeping, for its sessions.
  [[nodiscard]] bool same_policy(const Context& other) const noexcept;
  /// As configured; none where the client role has none.
  [[nodiscard]] const std::vector<OwnCertificate>& own_certificates() const noexcept;

  Context(const Context&) = delete;
  Context& operator=(const Context&) = delete;
  ~Context();

 private:
  friend class Engine;
  struct Impl;
  explicit Context(std::unique_ptr<Impl> impl) noexcept;
  std::unique_ptr<Impl> impl_;
};

// What is wrong with one of the files that a context is made of, where it could not be made.
// Errors: config, as the context's own.

[[nodiscard]] Result<> check_chain(const std::string& chain);
/// Its key: by itself, and with a chain that is right whether it belongs to that.
[[nodiscard]] Result<> check_key(const ChainAndKey& files);
/// "" = the system's trust store.
[[nodiscard]] Result<> check_trust_store(const std::string& ca_file);
[[nodiscard]] Result<> check_ticket_keys(const std::string& file);

/// Where the system's trust store is: the file that SSL_CERT_FILE names, otherwise the first of the
/// usual ones that can be read; "" if there is none.
[[nodiscard]] std::string system_trust_store();

/// "BoringSSL (API 17)" or what the library at hand says of itself.
[[nodiscard]] std::string library_version();

}  // namespace starttls::tls
