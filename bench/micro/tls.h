#pragma once

// Two ends of TLS in memory, both ours.

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

/// A folder with the certificates of this process; it is removed at the end.
class Certificates {
 public:
  Certificates();
  Certificates(const Certificates&) = delete;
  Certificates& operator=(const Certificates&) = delete;
  ~Certificates();

  [[nodiscard]] std::string ca() const { return folder_ + "/ca.pem"; }
  /// Chain and key of a server, "ecdsa" or "rsa"; of the name kServerName.
  [[nodiscard]] ChainAndKey pair(std::string_view kind) const;
  [[nodiscard]] const std::string& folder() const noexcept { return folder_; }

 private:
  std::string folder_;
};
const Certificates& certificates();
inline constexpr char kServerName[] = "mail.test";

/// Contexts that fit each other.
struct Contexts {
  std::shared_ptr<const tls::Context> client;
  std::shared_ptr<const tls::Context> server;
};
/// Throws std::runtime_error.
[[nodiscard]] Contexts make_contexts(RecordCodecChoice codec, TlsVersion version,
                                     std::string_view certificate = "ecdsa");

/// The memory that a worker has for all its legs: everything that goes between the ends is in it.
struct Slabs {
  std::vector<std::byte> to_server = std::vector<std::byte>(std::size_t{1} << 19U);
  std::vector<std::byte> to_client = std::vector<std::byte>(std::size_t{1} << 19U);
  std::vector<std::byte> plain = std::vector<std::byte>(std::size_t{1} << 19U);
};

struct Ends {
  std::unique_ptr<tls::Engine> client;
  std::unique_ptr<tls::Engine> server;
};
/// After their handshake, the server's tickets read. `server` as in Engine::client: not empty
/// resumes. Throws std::runtime_error.
[[nodiscard]] Ends shake_hands(const Contexts& contexts, BufferPool& pool, Slabs& slabs,
                               std::string_view server = {});

}  // namespace starttls::bench
