#pragma once

// Immutable TLS settings, shared by all workers. Includes no <openssl/...>: only lib/tls knows the
// library.

#include <array>
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
  /// If not empty, one of them must be met; with Verification::none they alone decide.
  std::vector<Pin> pins = {};
  std::optional<ChainAndKey> certificate = std::nullopt;  ///< ours, for servers that ask for one
  TlsVersion min_version = TlsVersion::tls1_2;
  TlsVersion max_version =
      TlsVersion::tls1_3;  ///< benchmarks compare versions; nothing else lowers it
  RecordCodecChoice record_codec = RecordCodecChoice::automatic;
  RecordCipher record_cipher = RecordCipher::library;
  PostQuantum post_quantum = PostQuantum::automatic;
};

struct ServerOptions {
  std::vector<ChainAndKey> certificates = {};  ///< chosen by SNI; the first is the default
  /// A PEM file; if not "", clients must show a certificate from one of its CAs. A client without
  /// one gets the reason inside TLS: `Engine::refusal`.
  std::string client_ca = {};
  std::string ticket_keys = {};  ///< file, see TicketKeys::read; "" = the process's own
  /// ALPN identifiers of the protocol (RFC 7301): a client that offers a list must offer one of
  /// them. Empty: ALPN is ignored.
  std::vector<std::string> alpn = {};
  TlsVersion min_version = TlsVersion::tls1_2;
  RecordCodecChoice record_codec = RecordCodecChoice::automatic;
  RecordCipher record_cipher = RecordCipher::library;
};

/// Part of the error about a key that does not belong to its chain: the key's file comes before it,
/// the chain's file after it. The two files are replaced one after the other, so the proxy gives
/// this error some time to pass.
inline constexpr std::string_view kOtherKey =
    ": the key does not belong to the first certificate of ";

/// A certificate of ours, with the limits of its own and of the certificate that has issued it, if
/// the chain has that. Peers need both. Those further up may be for old peers only.
struct OwnCertificate {
  std::string chain;      ///< the file that it was read from
  UnixTime not_before;    ///< the later one of the two
  UnixTime not_after;     ///< the earlier one of the two
  std::string names;      ///< "a.example, 192.0.2.1": printable ASCII, bounded
  std::string issuer;     ///< escaped
  unsigned rsa_bits = 0;  ///< of the weaker RSA key of the two, 0 if there is none
  std::array<std::uint8_t, 32> chain_digest{};  ///< of the whole chain; another chain has another

  // The subject of the issuer's certificate, escaped, if it is the one that has the limit.
  std::string latest_begin_of = {};
  std::string earliest_end_of = {};
  std::string weakest_key_of = {};
};

/// Settings of one leg's TLS, made once from configuration. Thread-safe after creation.
class Context {
 public:
  /// Makes a context for connections to servers. Errors: config (unreadable or empty CA file, PEM
  /// that does not parse), with the file's name; system (the TLS library fails).
  [[nodiscard]] static Result<std::shared_ptr<const Context>> client(const ClientOptions& options);
  /// Makes a context for connections from clients. Errors: config (unreadable file, key that does
  /// not belong to its certificate, key readable by others), with the file's name; system (the TLS
  /// library fails).
  [[nodiscard]] static Result<std::shared_ptr<const Context>> server(const ServerOptions& options);

  /// True if both contexts have the same role and trust the same peers: equal options, and equal
  /// contents of files. Of two such contexts the older one is worth keeping, for its sessions.
  [[nodiscard]] bool same_policy(const Context& other) const noexcept;
  /// Returns our certificates in the order of the configuration; empty if the client role has none.
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

// Checks of the single files that a context is made of. They find the faulty file when a context
// could not be made. Errors: config or system, the same as the context's own.

[[nodiscard]] Result<> check_chain(const std::string& chain);
/// Checks the key by itself. If its chain is right, also checks that the key belongs to it.
[[nodiscard]] Result<> check_key(const ChainAndKey& files);
/// Checks a file of CAs; "" = the system's trust store.
[[nodiscard]] Result<> check_trust_store(const std::string& ca_file);
[[nodiscard]] Result<> check_ticket_keys(const std::string& file);

/// Returns the path of the system's trust store. It is the file that SSL_CERT_FILE names, otherwise
/// the first of the usual ones that can be read; "" if there is none.
[[nodiscard]] std::string system_trust_store();

}  // namespace starttls::tls
