#pragma once

// Both ends of a TLS connection in memory; both use our engine.

#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "lib/base/buffer.h"
#include "lib/tls/context.h"
#include "lib/tls/engine.h"

namespace starttls::bench {

/// A folder with the certificates of this process. It is removed at the end.
class Certificates {
 public:
  Certificates();
  Certificates(const Certificates&) = delete;
  Certificates& operator=(const Certificates&) = delete;
  ~Certificates();

  [[nodiscard]] std::string ca() const { return folder_ + "/ca.pem"; }
  /// Returns chain and key of a server with the name kServerName. `kind` is "ecdsa" or "rsa".
  [[nodiscard]] ChainAndKey pair(std::string_view kind) const;
  [[nodiscard]] const std::string& folder() const noexcept { return folder_; }

 private:
  std::string folder_;
};
const Certificates& certificates();
inline constexpr char kServerName[] = "mail.test";

/// A client's and a server's context that fit each other.
struct Contexts {
  std::shared_ptr<const tls::Context> client;
  std::shared_ptr<const tls::Context> server;
};
/// Throws std::runtime_error.
[[nodiscard]] Contexts make_contexts(RecordCodecChoice codec, TlsVersion version,
                                     std::string_view certificate = "ecdsa");

/// The memory that a worker has for all its legs. All data between the two ends is in it.
struct Slabs {
  std::vector<std::byte> to_server = std::vector<std::byte>(std::size_t{1} << 19U);
  std::vector<std::byte> to_client = std::vector<std::byte>(std::size_t{1} << 19U);
  std::vector<std::byte> plain = std::vector<std::byte>(std::size_t{1} << 19U);
};

struct Ends {
  std::unique_ptr<tls::Engine> client;
  std::unique_ptr<tls::Engine> server;
};
/// Returns both ends after the handshake; the client has read the server's tickets. `server` is as
/// in Engine::client: if it is not empty, the session is resumed. Throws std::runtime_error.
[[nodiscard]] Ends shake_hands(const Contexts& contexts, BufferPool& pool, Slabs& slabs,
                               std::string_view server = {});

}  // namespace starttls::bench
