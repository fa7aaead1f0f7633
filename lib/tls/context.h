#pragma once

// Immutable TLS settings, shared by all workers. No <openssl/...> in sight: only lib/tls knows the
// library.

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "lib/base/error.h"

namespace starttls::tls {

enum class Version : std::uint8_t { tls1_0, tls1_1, tls1_2, tls1_3 };

enum class Verification : std::uint8_t {
  full,  ///< chain to a trusted root, and name
  none,  ///< encrypt only
};

struct ClientOptions {
  Verification verification = Verification::full;
  std::string ca_file = {};  ///< PEM; "" = the system's trust store
  Version min_version = Version::tls1_2;
};

struct ChainAndKey {
  std::string chain;  ///< PEM file, leaf first
  std::string key;    ///< PEM file; refused where group or others may read it
};

struct ServerOptions {
  std::vector<ChainAndKey> certificates = {};  ///< chosen by SNI; the first is the default
  Version min_version = Version::tls1_2;
};

/// Settings of one leg's TLS, made once from configuration. Thread-safe after creation.
class Context {
 public:
  /// Errors: config (unreadable or empty CA file, PEM that does not parse), with the file's name.
  [[nodiscard]] static Result<std::shared_ptr<const Context>> client(const ClientOptions& options);
  /// Errors: config (unreadable file, key that does not belong to its certificate, key readable by
  /// others), with the file's name.
  [[nodiscard]] static Result<std::shared_ptr<const Context>> server(const ServerOptions& options);

  Context(const Context&) = delete;
  Context& operator=(const Context&) = delete;
  ~Context();

 private:
  friend class Engine;
  struct Impl;
  explicit Context(std::unique_ptr<Impl> impl) noexcept;
  std::unique_ptr<Impl> impl_;
};

/// "BoringSSL (API 17)" or what the library at hand says of itself.
[[nodiscard]] std::string library_version();

}  // namespace starttls::tls
