#include "lib/net/listener.h"

#include <cerrno>
#include <cstring>
#include <iterator>
#include <system_error>
#include <utility>

#include <fcntl.h>
#include <linux/filter.h>
#include <netinet/in.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "lib/net/address.h"
#include "lib/net/takeover.h"

namespace starttls::net {
namespace {

constexpr int kBacklog = 4096;  // the kernel lowers it to net.core.somaxconn

/// How long a TCP handshake that has begun may take to end. From far away it takes a round trip. On
/// loopback it takes as long as a client in connect() waits for the processor.
constexpr std::chrono::milliseconds kHandshakesOnLoopback{50};
constexpr std::chrono::milliseconds kHandshakes{500};

/// Returns what to do about an error of the system, or "".
std::string_view advice(const Address& address, int error) noexcept {
  constexpr std::uint16_t kFirstFreePort = 1024;
  if (address.is_unix()) return "";
  if (error == EADDRNOTAVAIL) return " (this machine does not have that address)";
  if (error == EACCES && address.port != 0 && address.port < kFirstFreePort) {
    return " (ports below 1024 need root, CAP_NET_BIND_SERVICE or the systemd unit)";
  }
  return "";
}

tl::unexpected<Error> system_error(const Address& address, const char* what) {
  const int error = errno;
  return fail(Errc::system, "cannot listen on " + starttls::to_string(address) + ": " + what +
                                ": " + std::generic_category().message(error) +
                                std::string(advice(address, error)));
}

/// True for a socket of root's that has no other name. A user that may write to the folder could
/// have put another file of root's in its place. Then that user would get that file (S11).
bool is_just_bound_by_us(const struct stat& status) noexcept {
  return S_ISSOCK(status.st_mode) && status.st_uid == ::geteuid() && status.st_nlink == 1;
}

/// Gives the path of a socket that root has just bound to its user. Returns false if that failed;
/// errno says why.
bool give_path(const char* path, const Owner& owner) noexcept {
  const Descriptor file{::open(path, O_PATH | O_NOFOLLOW | O_CLOEXEC)};
  struct stat status = {};
  if (file.get() < 0 || ::fstat(file.get(), &status) != 0) return false;
  if (S_ISSOCK(status.st_mode) && status.st_uid == owner.uid) return true;
  if (!is_just_bound_by_us(status)) {
    errno = EEXIST;
    return false;
  }
  // A setgid folder may have given the file a group; keep that, because it will do the same when
  // that user binds here. Root without CAP_CHOWN keeps the file, as it keeps ports.
  const gid_t group = status.st_gid == ::getegid() ? owner.gid : static_cast<gid_t>(-1);
  return ::fchownat(file.get(), "", owner.uid, group, AT_EMPTY_PATH) == 0 || errno == EPERM;
}

/// Removes the socket that an ended process has left at the path. Only a connection attempt shows
/// if a process still listens. One that listens but does not accept is alive too (EAGAIN); we do
/// not wait for it.
Result<> remove_stale(const Address& address, const sockaddr_un& name) {
  const Socket probe{::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)};
  if (probe.get() < 0) return system_error(address, "socket");
  struct stat status = {};
  const bool is_socket = ::stat(name.sun_path, &status) == 0 && S_ISSOCK(status.st_mode);
  const bool refused = is_socket && ::connect(probe.get(), reinterpret_cast<const sockaddr*>(&name),
                                              sizeof(name)) != 0;
  if (refused && errno == EACCES) {
    return fail(Errc::system, "cannot listen on " + starttls::to_string(address) +
                                  ": the socket there is of another user, and we may not check "
                                  "if a process still listens on it");
  }
  if (!refused || errno != ECONNREFUSED) {
    errno = EADDRINUSE;
    return system_error(address, "bind");
  }
  if (::unlink(name.sun_path) != 0) return system_error(address, "remove the old socket");
  return {};
}

Result<Socket> bind_unix(const Address& address, const std::optional<Owner>& owner) {
  sockaddr_un name{};
  name.sun_family = AF_UNIX;
  if (address.path.size() >= sizeof(name.sun_path)) {
    errno = ENAMETOOLONG;
    return system_error(address, "path");
  }
  std::memcpy(name.sun_path, address.path.data(), address.path.size());
  const auto* generic = reinterpret_cast<const sockaddr*>(&name);

  Socket socket{::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)};
  if (socket.get() < 0) return system_error(address, "socket");
  if (::bind(socket.get(), generic, sizeof(name)) != 0) {
    if (errno != EADDRINUSE) return system_error(address, "bind");
    if (auto removed = remove_stale(address, name); !removed) return fail(removed.error());
    if (::bind(socket.get(), generic, sizeof(name)) != 0) return system_error(address, "bind");
  }
  if (owner && ::geteuid() == 0 && !give_path(name.sun_path, *owner)) {
    return system_error(address, "chown");
  }
  if (::listen(socket.get(), kBacklog) != 0) return system_error(address, "listen");
  return socket;
}

/// Returns the option's level and name for the socket's family.
std::pair<int, int> transparent_option(const Socket& socket) noexcept {
  int family = AF_INET;
  socklen_t size = sizeof(family);
  static_cast<void>(::getsockopt(socket.get(), SOL_SOCKET, SO_DOMAIN, &family, &size));
  return family == AF_INET6 ? std::pair{SOL_IPV6, IPV6_TRANSPARENT}
                            : std::pair{SOL_IP, IP_TRANSPARENT};
}

bool is_loopback(const SocketAddress& address) noexcept {
  if (address.storage.ss_family == AF_INET6) {
    return IN6_IS_ADDR_LOOPBACK(
        &reinterpret_cast<const sockaddr_in6*>(&address.storage)->sin6_addr);
  }
  const auto* v4 = reinterpret_cast<const sockaddr_in*>(&address.storage);
  return ntohl(v4->sin_addr.s_addr) >> 24 == IN_LOOPBACKNET;
}

Result<Socket> bind_tcp(const Address& address, Taking taking, const std::optional<Owner>& owner) {
  const auto where = parse_ip(address.host, address.port);
  if (!where) return fail(where.error());
  Socket socket{::socket(where->storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)};
  if (socket.get() < 0) return system_error(address, "socket");
  // Change the owner before bind, because the kernel looks at it then. Root without CAP_CHOWN keeps
  // the socket. Then a port that came with a reload is not shared with the root of the next start.
  if (owner) {
    [[maybe_unused]] const int kept = ::fchown(socket.get(), owner->uid, static_cast<gid_t>(-1));
  }
  const int on = 1;
  if (::setsockopt(socket.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) != 0 ||
      ::setsockopt(socket.get(), SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on)) != 0) {
    return system_error(address, "setsockopt");
  }
  if (where->storage.ss_family == AF_INET6 &&
      ::setsockopt(socket.get(), IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on)) != 0) {
    return system_error(address, "setsockopt");
  }
  if (taking == Taking::others_too && !is_loopback(*where) && !make_transparent(socket) &&
      errno != EPERM && errno != ENOPROTOOPT) {
    return system_error(address, "setsockopt");
  }
  if (::bind(socket.get(), where->get(), where->size) != 0) return system_error(address, "bind");
  return socket;
}

/// Makes the kernel drop segments that would begin a connection (SYN) and let the rest of a
/// handshake pass. There is no other way to close a TCP listener without resetting unfinished
/// handshakes. They belong to the listener and end with it, unless net.ipv4.tcp_migrate_req is set.
/// Returns false if the kernel refuses: some kernels want CAP_BPF.
bool drop_new_handshakes(int fd) noexcept {
  constexpr unsigned kFlags = 13;  // RFC 9293 §3.1; the filter sees the TCP header
  constexpr unsigned kSyn = 0x02;
  sock_filter program[] = {BPF_STMT(BPF_LD | BPF_B | BPF_ABS, kFlags),
                           BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, kSyn, 0, 1),
                           BPF_STMT(BPF_RET | BPF_K, 0), BPF_STMT(BPF_RET | BPF_K, 0xffffffff)};
  const sock_fprog filter{.len = std::size(program), .filter = program};
  return ::setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &filter, sizeof(filter)) == 0;
}

}  // namespace

Result<Socket> bind_listener(const Address& address, Taking taking,
                             const std::optional<Owner>& owner) {
  return address.is_unix() ? bind_unix(address, owner) : bind_tcp(address, taking, owner);
}

Result<> begin_listening(const Socket& socket) {
  // Accepted connections inherit the options that the listener has when they arrive.
  if (!listening_address(socket).is_unix()) set_tcp_options(socket.get());
  if (::listen(socket.get(), kBacklog) == 0) return {};
  return system_error(listening_address(socket), "listen");
}

bool make_transparent(const Socket& socket) noexcept {
  const auto [level, option] = transparent_option(socket);
  const int on = 1;
  return ::setsockopt(socket.get(), level, option, &on, sizeof(on)) == 0;
}

bool is_transparent(const Socket& socket) noexcept {
  const auto [level, option] = transparent_option(socket);
  int on = 0;
  socklen_t size = sizeof(on);
  return ::getsockopt(socket.get(), level, option, &on, &size) == 0 && on != 0;
}

Result<Socket> duplicate(const Socket& socket) {
  const int fd = ::fcntl(socket.get(), F_DUPFD_CLOEXEC, 0);
  if (fd < 0) {
    return fail(Errc::system,
                "cannot duplicate a socket: " + std::generic_category().message(errno));
  }
  return Socket{fd};
}

Result<Socket> adopt_listener(int fd) {
  const int flags = ::fcntl(fd, F_GETFD);
  if (flags < 0) return fail(Errc::config, "is not open");
  Socket socket{fd};
  const auto option = [fd](int name) {
    int value = -1;
    socklen_t size = sizeof(value);
    return ::getsockopt(fd, SOL_SOCKET, name, &value, &size) == 0 ? value : -1;
  };
  constexpr int kMultipathTcp = 262;  // IPPROTO_MPTCP, which older headers lack
  const int family = option(SO_DOMAIN);
  const int protocol = option(SO_PROTOCOL);
  const bool tcp = (family == AF_INET || family == AF_INET6) &&
                   (protocol == IPPROTO_TCP || protocol == kMultipathTcp);
  if (family < 0) return fail(Errc::config, "is not a socket");
  if (option(SO_TYPE) != SOCK_STREAM || !(tcp || family == AF_UNIX)) {
    return fail(Errc::config, "is neither a TCP nor a unix stream socket");
  }
  if (option(SO_ACCEPTCONN) != 1) {
    return fail(Errc::config, "does not listen (its socket unit needs Accept=no)");
  }
  const int status = ::fcntl(fd, F_GETFL);
  if (::fcntl(fd, F_SETFD, flags | FD_CLOEXEC) != 0 || status < 0 ||
      ::fcntl(fd, F_SETFL, status | O_NONBLOCK) != 0) {
    return fail(Errc::config, std::generic_category().message(errno));
  }
  return socket;
}

Address listening_address(const Socket& socket) {
  const SocketAddress where = local_address(socket.get());
  if (where.storage.ss_family != AF_UNIX) return ip_address(where);
  Address address;
  address.path = starttls::net::to_string(where).substr(std::string_view("unix:").size());
  if (address.path.empty()) address.path = "@";  // it listens, so it has a name
  return address;
}

std::string local_name(const Socket& socket) {
  return to_string(local_address(socket.get()));
}

std::uint16_t local_port(const Socket& socket) {
  return port_of(local_address(socket.get()));
}

Listener::Listener(Loop& loop, Stream::Kind kind, OnConnection on_connection)
    : loop_(loop),
      kind_(kind),
      on_connection_(std::move(on_connection)),
      pause_(loop, [this] { resume(); }) {}

Listener::~Listener() {
  if (poll_ == nullptr) return;
  uv_close(reinterpret_cast<uv_handle_t*>(poll_),
           [](uv_handle_t* handle) noexcept { delete reinterpret_cast<uv_poll_t*>(handle); });
}

Result<> Listener::open(Socket socket, Holder holder) {
  holder_ = holder;
  if (auto listening = begin_listening(socket); !listening) return listening;
  auto* const poll = new uv_poll_t{};
  if (const int status = uv_poll_init(loop_.raw(), poll, socket.get()); status != 0) {
    delete poll;  // libuv has not taken it
    return fail(Errc::system, "cannot listen on " + starttls::to_string(listening_address(socket)) +
                                  ": " + error_text(status));
  }
  poll_ = poll;
  poll_->data = this;
  socket_ = std::move(socket);
  resume();
  return {};
}

bool Listener::is_shared() const {
  return net::is_shared(socket_);
}

Listener::Ending Listener::begin_end() noexcept {
  const int fd = socket_.get();
  if (holder_ == Holder::supervisor || fd < 0) return {};
  if (kind_ == Stream::Kind::unix_socket) {
    // A unix socket has no unfinished connections: from here on new ones are refused.
    static_cast<void>(::shutdown(fd, SHUT_RD));
    return {};
  }
  if (!drop_new_handshakes(fd)) return {.patience = {}, .resets_some = true};
  return {.patience = is_loopback(local_address(fd)) ? kHandshakesOnLoopback : kHandshakes};
}

void Listener::accept_queued() {
  if (holder_ == Holder::supervisor || poll_ == nullptr) return;
  uv_poll_stop(poll_);
  pause_.stop();
  while (accept_one(Room::enough) || errno == EINTR || errno == ECONNABORTED) {
  }
}

/// Listens, as soon as there are free descriptors.
void Listener::resume() {
  if (!loop_.keep_spare()) {
    pause_.start(kPause);
    return;
  }
  // accept reports an error, if there is one.
  uv_poll_start(poll_, UV_READABLE, [](uv_poll_t* handle, int, int) noexcept {
    static_cast<Listener*>(handle->data)->accept_waiting();
  });
}

void Listener::pause() {
  uv_poll_stop(poll_);
  pause_.start(kPause);
}

void Listener::accept_waiting() {
  for (int count = 0; count < kAcceptsATurn; ++count) {
    if (accept_one(Room::enough)) {
      in_vain_ = 0;
      continue;
    }
    switch (errno) {
      case EAGAIN:
        // Another process that shares the socket was quicker. Or it has shut the socket down, and
        // then libuv announces connections without end.
        if (count == 0 && ++in_vain_ >= kTurnsInVain) pause();
        return;
      case EMFILE:
      case ENFILE:
        loop_.release_spare();
        static_cast<void>(accept_one(Room::last));
        pause();
        return;
      case EINTR:
      case ECONNABORTED:
      case EPERM:  // a firewall refuses it
      case EPROTO:
      case ENETDOWN:
      case ENOPROTOOPT:
      case EHOSTDOWN:
      case ENONET:
      case EHOSTUNREACH:
      case EOPNOTSUPP:
      case ENETUNREACH:
        break;  // errors of that one connection, which is gone: accept(2)
      default:  // no memory, or another process that shares the socket has shut it down
        pause();
        return;
    }
  }
}

/// Returns false if no connection was accepted; errno says why.
bool Listener::accept_one(Room room) {
  SocketAddress peer;
  peer.size = sizeof(peer.storage);
  const int fd = ::accept4(socket_.get(), peer.get(), &peer.size, SOCK_NONBLOCK | SOCK_CLOEXEC);
  if (fd < 0) return false;
  auto stream = Stream::create(loop_, kind_);
  const int status = kind_ == Stream::Kind::tcp
                         ? uv_tcp_open(reinterpret_cast<uv_tcp_t*>(stream->raw()), fd)
                         : uv_pipe_open(reinterpret_cast<uv_pipe_t*>(stream->raw()), fd);
  if (status != 0) {
    ::close(fd);
  } else {
    on_connection_({std::move(stream), unmapped(peer), room});
  }
  return true;
}

}  // namespace starttls::net
