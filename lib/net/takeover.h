#pragma once

// A second process of this program beside the first. The first can then end without losing a
// connection.
//
// TCP: SO_REUSEPORT lets a second process of the same user (or root, binding for it) bind and
// listen. The kernel spreads new connections over both until the first closes its listeners
// (Listener::begin_end). A unix socket's path leads to one listener only. So the second process
// binds under another name and moves that over the path.

#include <optional>
#include <string>

#include "lib/base/address.h"
#include "lib/base/error.h"
#include "lib/net/listener.h"

namespace starttls::net {

/// True if a socket already listens on the TCP address, even one that would share it with us.
[[nodiscard]] bool is_taken(const Address& address);
/// True if another TCP socket listens on the same address, or on all addresses of its port. False
/// if that cannot be found out.
[[nodiscard]] bool is_shared(const Socket& listening);

/// A unix listener that will replace another process's. Until `complete` no client finds it.
class Takeover {
 public:
  /// Prepares a takeover. Returns nothing unless another process of this program and this user (for
  /// root: of any user) listens at the path. The socket will belong to `owner`, as in
  /// bind_listener. Errors: system.
  [[nodiscard]] static Result<std::optional<Takeover>> prepare(
      const Address& address, const std::optional<Owner>& owner = {});
  Takeover(Takeover&& other) noexcept;
  Takeover& operator=(Takeover&&) = delete;
  /// Removes every trace of a takeover that was not completed.
  ~Takeover();

  /// Returns the listener, once; use duplicate() for others.
  [[nodiscard]] Socket& socket() noexcept { return socket_; }
  /// Checks that the process's present user may move sockets in the folder: root prepares, and the
  /// user that it becomes completes. Errors: system.
  [[nodiscard]] Result<> may_complete() const;
  /// Moves the new socket over the path, without a moment in between. After that clients cannot
  /// find the other process's socket any more. So call this after everything else that can fail.
  /// Errors: system.
  [[nodiscard]] Result<> complete();

 private:
  Takeover(Socket socket, std::string path, std::string beside)
      : socket_(std::move(socket)), path_(std::move(path)), beside_(std::move(beside)) {}

  Socket socket_;
  std::string path_;
  std::string beside_;  // "" = completed, or moved from
};

}  // namespace starttls::net
