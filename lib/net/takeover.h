#pragma once

// A second process of this program beside the first, so that it may be told to end without a
// connection being lost.
//
// TCP: SO_REUSEPORT lets a second process of the same user (or root, binding for it) bind and
// listen; the kernel spreads new connections over both until the first closes its listeners
// (Listener::begin_end). A unix socket's
// path leads to one listener only: the second binds under another name and moves that over it.

#include <optional>
#include <string>

#include "lib/base/address.h"
#include "lib/base/error.h"
#include "lib/net/listener.h"

namespace starttls::net {

/// Whether somebody listens on the TCP address already; also one with whom it can be shared.
[[nodiscard]] bool is_taken(const Address& address);
/// Whether another TCP socket listens where this one does, or on all addresses of its port. False
/// where that cannot be found out.
[[nodiscard]] bool is_shared(const Socket& listening);

/// A unix listener that is to take the place of another process's. Until `complete` nobody finds
/// it.
class Takeover {
 public:
  /// Nothing where no other process of this program and this user (root: of any) listens at the
  /// path. It will be `owner`'s, as in bind_listener. Errors: system.
  [[nodiscard]] static Result<std::optional<Takeover>> prepare(
      const Address& address, const std::optional<Owner>& owner = {});
  Takeover(Takeover&& other) noexcept;
  Takeover& operator=(Takeover&&) = delete;
  /// What was not completed leaves no trace.
  ~Takeover();

  /// The listener, once; others by duplicate().
  [[nodiscard]] Socket& socket() noexcept { return socket_; }
  /// Checks that the process's present user may move sockets in the folder: root prepares, and the
  /// user that it becomes completes. Errors: system.
  [[nodiscard]] Result<> may_complete() const;
  /// From now on the path leads to it, with no moment in between, and the socket of the other
  /// process cannot be found any more. So this comes after everything else that can fail. Errors:
  /// system.
  [[nodiscard]] Result<> complete();

 private:
  Takeover(Socket socket, std::string path, std::string beside)
      : socket_(std::move(socket)), path_(std::move(path)), beside_(std::move(beside)) {}

  Socket socket_;
  std::string path_;
  std::string beside_;  // "" = completed, or moved from
};

}  // namespace starttls::net
