#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <utility>

#include <sys/types.h>

#include "lib/base/address.h"
#include "lib/base/descriptor.h"
#include "lib/base/error.h"
#include "lib/net/loop.h"
#include "lib/net/stream.h"
#include "lib/net/timer.h"

namespace starttls::net {

using Socket = Descriptor;

/// The connections that a listener takes.
enum class Taking : std::uint8_t {
  ours,  ///< connections to an address of this machine
  /// Also connections to addresses of other machines that TPROXY hands to it, if the process has
  /// CAP_NET_ADMIN. Never on loopback: a service there counts on being reached from this machine
  /// only.
  others_too,
};

/// The user that root will become, and for which it binds.
struct Owner {
  uid_t uid = 0;
  gid_t gid = 0;
};

/// Binds a socket. A unix socket also listens. A TCP socket listens only when a Listener opens it:
/// a process that fails before it serves has then taken no connection from one beside it.
///
/// TCP sockets of several workers share the port by SO_REUSEPORT, and the kernel spreads
/// connections over them. Pass the port that the first one got. Only sockets of one user can share
/// a port: of `owner`, if root binds for the user that it will become, otherwise of our user. The
/// path of a unix socket also belongs to that user. A stale unix socket is replaced, one that is in
/// use is an error. Errors: system, with the address.
[[nodiscard]] Result<Socket> bind_listener(const Address& address, Taking taking = Taking::ours,
                                           const std::optional<Owner>& owner = {});
/// Lets clients connect from now on; they wait until a Listener accepts them. Use it to find out
/// beforehand if that Listener can open the socket: another process may have been quicker to listen
/// there. Errors: system, with the address.
[[nodiscard]] Result<> begin_listening(const Socket& socket);
/// Lets the socket have addresses that are not this machine's (IP_TRANSPARENT). Returns false if
/// that failed; errno says why, EPERM if CAP_NET_ADMIN is missing.
[[nodiscard]] bool make_transparent(const Socket& socket) noexcept;
[[nodiscard]] bool is_transparent(const Socket& socket) noexcept;
/// Returns a second descriptor for the same socket, for another worker's loop (unix sockets).
[[nodiscard]] Result<Socket> duplicate(const Socket& socket);
/// Takes a descriptor that the process was started with. Errors: config, if it is not a listening
/// TCP or unix stream socket. The reason follows the descriptor's name ("is not a socket").
[[nodiscard]] Result<Socket> adopt_listener(int fd);
/// Returns the address that it listens on, as in a configuration. A unix socket's path is never
/// empty.
[[nodiscard]] Address listening_address(const Socket& socket);
/// Returns the address that it listens on, with the real port.
[[nodiscard]] std::string local_name(const Socket& socket);
[[nodiscard]] std::uint16_t local_port(const Socket& socket);

/// The process that keeps a socket listening.
enum class Holder : std::uint8_t {
  us,
  supervisor,  ///< the supervisor goes on listening, for the process that comes after us
};

/// Accepts connections on its loop until it is destroyed. Connections that still wait to be
/// accepted are reset then, unless `begin_end` and `accept_queued` have ended it.
///
/// If no descriptors are left, it gives up one that the loop keeps for this, to answer one client.
/// Then it accepts no connection until a descriptor is free; new clients wait in the kernel
/// meanwhile. (libuv has such a descriptor for its own listeners, but it closes waiting connections
/// without an answer. If another thread or process is quicker to take the descriptor, libuv tries
/// for ever, in one call.)
class Listener {
 public:
  enum class Room : std::uint8_t {
    enough,
    last,  ///< the connection has the spare descriptor: send it an error, and close it soon
  };
  struct Connection {
    Stream::Ptr stream;
    /// The peer's address as accept returned it. A connection that is reset at once has none any
    /// more (Stream::peer), and its bytes can still be read.
    SocketAddress peer;
    Room room = Room::enough;
  };
  using OnConnection = std::function<void(Connection)>;

  /// Time without accepting before we look for a free descriptor again.
  static constexpr std::chrono::milliseconds kPause{50};
  /// Connections accepted before others on the loop get their turn.
  static constexpr int kAcceptsATurn = 64;
  /// Turns in a row in which a connection was announced and none was found; then there is a pause.
  static constexpr int kTurnsInVain = 16;

  Listener(Loop& loop, Stream::Kind kind, OnConnection on_connection);
  Listener(const Listener&) = delete;
  Listener& operator=(const Listener&) = delete;
  ~Listener();

  /// Takes the socket and starts to accept. Errors: system.
  [[nodiscard]] Result<> open(Socket socket, Holder holder = Holder::us);

  /// True if another socket listens on the same address as this TCP listener.
  [[nodiscard]] bool is_shared() const;

  struct Ending {
    std::chrono::milliseconds patience{};  ///< time for connections that have begun
    bool resets_some =
        false;  ///< the kernel has refused the filter, so a few may be reset in the end
  };
  /// Stops new connections from now on. Those that have begun are still accepted, within the
  /// returned patience; then call `accept_queued`. A client that tries meanwhile gets no answer.
  /// When its kernel tries again (after a second), it is refused, or served by a process that
  /// listens on the same address.
  [[nodiscard]] Ending begin_end() noexcept;
  /// Accepts all connections that wait, now. A supervisor's are left for the process that it starts
  /// next.
  void accept_queued();

 private:
  void accept_waiting();
  [[nodiscard]] bool accept_one(Room room);
  void pause();
  void resume();

  Loop& loop_;
  Stream::Kind kind_;
  OnConnection on_connection_;
  Socket socket_{-1};
  Timer pause_;
  int in_vain_ = 0;
  uv_poll_t* poll_ = nullptr;  // outlives the listener until libuv lets go of it
  Holder holder_ = Holder::us;
};

}  // namespace starttls::net
