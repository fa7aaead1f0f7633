#pragma once

// How many sessions each client address has, by service, over all workers.

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

/// One a process. Thread-safe. It holds an entry for each address that has a session, so the limit
/// of all sessions bounds it. Whole addresses are counted, of IPv6 too: who has a network of them
/// is held by that other limit.
class ClientTable {
 public:
  using Address = std::array<std::uint8_t, 16>;  // IPv4 as ::ffff:a.b.c.d

  /// A session's place, for as long as it lives.
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

  /// `limit`: sessions of one address with the service of that name, those of earlier
  /// configurations included; 0 = none. Counted are all, for a limit may come with a reload.
  /// Errors: limit.
  [[nodiscard]] Result<Seat> take(const std::string& service, const IpEndpoint& client,
                                  std::size_t limit);
  [[nodiscard]] std::size_t addresses() const;

 private:
  mutable std::mutex mutex_;
  Seat::Counts counts_;
};

}  // namespace starttls::session
