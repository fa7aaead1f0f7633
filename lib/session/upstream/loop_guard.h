#pragma once

// Keeps intercepted connections from coming back to the proxy that makes them.
//
// A rule that redirects mail ports must spare the proxy's own traffic. If it does not, each
// connection that we make comes back to us, and each of those makes another. Such a connection has
// both its ends here, with the same addresses at both. So the end that is noted second finds the
// first.

#include <array>
#include <cstdint>
#include <mutex>
#include <set>
#include <utility>
#include <vector>

#include "lib/net/address.h"

namespace starttls::session {

/// One per process. Thread-safe.
class LoopGuard {
 public:
  /// The two kinds of ends: of a client's connection, which we accepted, or of ours towards a
  /// server.
  enum class End : std::uint8_t { accepted, made };

 private:
  using Path = std::array<std::uint8_t, 36>;  // two addresses with their ports

 public:
  /// Notes a connection for as long as it lives.
  class Entry {
   public:
    Entry() = default;
    Entry(Entry&& other) noexcept;
    Entry& operator=(Entry&& other) noexcept;
    ~Entry();

    /// True if the connection's other end is ours too.
    [[nodiscard]] bool is_loop() const noexcept { return loop_; }

   private:
    friend class LoopGuard;

    LoopGuard* guard_ = nullptr;
    End end_ = End::accepted;
    Path path_{};
    bool loop_ = false;
  };

  /// Notes a connection. `from` is the side that connected, `to` the address that it dialled.
  [[nodiscard]] Entry note(End end, const net::SocketAddress& from, const net::SocketAddress& to);

  /// Sets the ports that we listen on.
  void set_ports(std::vector<std::uint16_t> ports);
  [[nodiscard]] bool listens_on(std::uint16_t port) const;

 private:
  [[nodiscard]] bool has_other_end(End end, const Path& path) const;

  mutable std::mutex mutex_;
  std::multiset<Path> accepted_;
  std::multiset<Path> made_;
  std::vector<std::uint16_t> ports_;
};

}  // namespace starttls::session
