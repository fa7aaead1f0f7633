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

/// What a listener takes.
enum class Taking : std::uint8_t {
  ours,  ///< connections to an address of this machine
  /// And, where the process may (CAP_NET_ADMIN), those to addresses of others that TPROXY hands to
  /// it. Never on loopback: who listens there counts on being reached from this machine only.
  others_too,
};

/// Who root binds for: the user that it is going to become.
struct Owner {
  uid_t uid = 0;
  gid_t gid = 0;
};

/// Binds; a unix socket also listens, TCP does when a Listener opens it: a process that does not
/// come to serve has then taken no connection from one beside it. TCP sockets of several workers
/// share the port by SO_REUSEPORT (the kernel spreads connections over them); pass the port the
/// first one got. Such a port is shared by the sockets of one user: of `owner`, where root binds
/// for whom it will become, else of who we are. A unix socket's path is his too. A stale unix
/// socket is replaced, one that is in use is an error. Errors: system, with the address.
[[nodiscard]] Result<Socket> bind_listener(const Address& address, Taking taking = Taking::ours,
                                           const std::optional<Owner>& owner = {});
/// Others may connect from now on, and wait until a Listener accepts them. For who wants to know
/// beforehand whether that one can open the socket: another may have been quicker to listen there.
/// Errors: system, with the address.
[[nodiscard]] Result<> begin_listening(const Socket& socket);
/// From now on the socket may have addresses that are not this machine's (IP_TRANSPARENT). False:
/// errno says why not; EPERM is the lack of CAP_NET_ADMIN.
[[nodiscard]] bool make_transparent(const Socket& socket) noexcept;
[[nodiscard]] bool is_transparent(const Socket& socket) noexcept;
/// A second descriptor for the same socket, for another worker's loop (unix sockets).
[[nodiscard]] Result<Socket> duplicate(const Socket& socket);
/// Takes a descriptor that the process was started with. Errors: config, where it is not a
/// listening TCP or unix stream socket, in words that follow its name ("is no socket").
[[nodiscard]] Result<Socket> adopt_listener(int fd);
/// Where it listens, as an address of a configuration; a unix socket's path is never empty.
[[nodiscard]] Address listening_address(const Socket& socket);
/// Where it listens, its real port included.
[[nodiscard]] std::string local_name(const Socket& socket);
[[nodiscard]] std::uint16_t local_port(const Socket& socket);

/// Whose a socket is.
enum class Holder : std::uint8_t {
  us,
  supervisor,  ///< who goes on listening, for the process that comes after us
};

/// Accepts connections on its loop until it is destroyed. Connections that wait to be accepted are
/// reset then, unless it has been ended by `begin_end` and `accept_queued`.
///
/// Out of descriptors, it gives up one that the loop keeps for this, so that somebody can be told;
/// then nobody is accepted until one is free again. Whoever comes meanwhile waits in the kernel.
/// (libuv has such a descriptor for its own listeners; it closes whoever waits without a word, and
/// where another thread or process was quicker to take the descriptor, it tries for ever, in one
/// call.)
class Listener {
 public:
  enum class Room : std::uint8_t {
    enough,
    last,  ///< the connection has the spare descriptor: tell it so, and let it go soon
  };
  struct Connection {
    Stream::Ptr stream;
    /// As it was accepted: one that is reset at once has none any more (Stream::peer), and its
    /// octets can still be read.
    SocketAddress peer;
    Room room = Room::enough;
  };
  using OnConnection = std::function<void(Connection)>;

  /// How long nobody is accepted before we look for a free descriptor again.
  static constexpr std::chrono::milliseconds kPause{50};
  /// Connections accepted before others on the loop have their turn.
  static constexpr int kAcceptsATurn = 64;
  /// Turns in a row that find nobody although somebody was announced; then there is a pause.
  static constexpr int kTurnsInVain = 16;

  Listener(Loop& loop, Stream::Kind kind, OnConnection on_connection);
  Listener(const Listener&) = delete;
  Listener& operator=(const Listener&) = delete;
  ~Listener();

  /// Takes the socket. Errors: system.
  [[nodiscard]] Result<> open(Socket socket, Holder holder = Holder::us);

  /// Whether another socket listens where this TCP listener does.
  [[nodiscard]] bool is_shared() const;

  struct Ending {
    std::chrono::milliseconds patience{};  ///< how long who has begun to come in may take
    bool resets_some = false;  ///< the kernel lets nobody in peace: a few may be reset in the end
  };
  /// From now on nobody new comes in, and who has begun to is still let in, for so long; then call
  /// `accept_queued`. Who tries meanwhile gets no answer, and is refused, or served by a process
  /// that listens on the same address, when his kernel tries again (after a second).
  [[nodiscard]] Ending begin_end() noexcept;
  /// Accepts all connections that wait, now. A supervisor's are left for whom it starts next.
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
