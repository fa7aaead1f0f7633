#pragma once

// Decides if a client is served: by its address, which a PROXY header may name, and by the number
// of its sessions.

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "lib/base/error.h"
#include "lib/config/config.h"
#include "lib/session/client/identity.h"
#include "lib/session/client/table.h"

namespace starttls::session {

enum class Admitted : std::uint8_t {
  not_yet,  ///< more bytes of the client are needed, to learn its address or that no header comes
  yes,
};

/// Belongs to one session. Pure, apart from the client's place in the table, which it holds.
class Admission {
 public:
  /// `peer` is the connection's other end. `settings` and `clients` outlive us.
  Admission(const config::Service& settings, const net::SocketAddress& peer, ClientTable& clients);

  struct Step {
    std::size_t header = 0;  ///< how many of the bytes belong to a PROXY header
    Admitted admitted = Admitted::not_yet;
  };

  /// Decides as far as possible before the client has sent a byte. Errors: not_allowed, limit.
  [[nodiscard]] Result<Admitted> begin();
  /// Looks at bytes of the client, each once and in order, until `is_watching` ends. They came in
  /// the clear. Errors: as `begin`, and as ClientIdentity::look.
  [[nodiscard]] Result<Step> look(std::string_view news);

  [[nodiscard]] const ClientIdentity& identity() const noexcept { return identity_; }
  [[nodiscard]] bool awaits_header() const noexcept { return identity_.awaits_header(); }
  /// True if bytes in the clear must be shown to `look`.
  [[nodiscard]] bool is_watching() const noexcept { return identity_.is_watching(); }

 private:
  [[nodiscard]] Result<> admit();
  [[nodiscard]] Admitted admitted() const noexcept;

  const config::Service& settings_;
  ClientTable& clients_;
  ClientIdentity identity_;
  ClientTable::Seat seat_;
};

}  // namespace starttls::session
