#pragma once

// Counts the sessions of each client address, by service, over all workers.

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <mutex>
#include <string>
#include <utility>

#include "lib/base/error.h"
#include "lib/base/ip_endpoint.h"

namespace starttls::session {

/// One per process. Thread-safe. It holds an entry for each address that has a session, so
/// the limit of all sessions bounds it. Whole addresses are counted, even of IPv6. A client that
/// has a whole IPv6 network is only limited by that other limit.
class ClientTable {
 public:
  using Address = std::array<std::uint8_t, 16>;  // IPv4 as ::ffff:a.b.c.d

  /// A session's place, for as long as the session lives.
  class Seat {
   public:
    Seat() = default;
    Seat(Seat&& other) noexcept : table_(std::exchange(other.table_, nullptr)), at_(other.at_) {}
    Seat& operator=(Seat&& other) noexcept;
    ~Seat();

   private:
    friend class ClientTable;
    using Counts = std::map<std::pair<std::string, Address>, std::size_t>;

    ClientTable* table_ = nullptr;
    Counts::iterator at_{};
  };

  /// Takes a place. `limit` bounds the sessions of one address with the service of that name, those
  /// of earlier configurations included; 0 = none. All sessions are counted, because a limit may
  /// come with a reload. Errors: limit.
  [[nodiscard]] Result<Seat> take(const std::string& service, const IpEndpoint& client,
                                  std::size_t limit);
  [[nodiscard]] std::size_t addresses() const;

 private:
  mutable std::mutex mutex_;
  Seat::Counts counts_;
};

}  // namespace starttls::session
