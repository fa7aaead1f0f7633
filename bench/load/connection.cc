#include "bench/load/connection.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <span>
#include <system_error>
#include <utility>
#include <vector>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

namespace starttls::bench {
namespace {

constexpr timeval kPatience{60, 0};
constexpr std::size_t kRead = 256UL * 1024;
/// The plaintext that is sealed before a write: the kernel gets several records at once.
constexpr std::size_t kSealed = 64UL * 1024;

struct Scratch {
  std::vector<std::byte> wire = std::vector<std::byte>(kRead);
  // A record that an earlier read began needs room in addition.
  std::vector<std::byte> plain = std::vector<std::byte>(kRead + 2 * tls::kMaxRecordWire);
  std::vector<std::byte> out;

  /// Returns room for the engine's own output, besides `bytes` bytes of records.
  tls::WireOut make_out(std::size_t bytes = 0) {
    out.resize(std::max(out.size(), bytes + tls::kHandshakeRoom));
    return {out};
  }
};

Scratch& scratch() {
  thread_local Scratch memory;
  return memory;
}

std::string_view as_text(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

[[noreturn]] void throw_errno(const std::string& what) {
  throw Failure(what + ": " + std::generic_category().message(errno));
}

sockaddr_storage resolve(const Address& address, socklen_t& size) {
  sockaddr_storage storage{};
  if (address.is_unix()) {
    auto* name = reinterpret_cast<sockaddr_un*>(&storage);
    name->sun_family = AF_UNIX;
    if (address.path.size() >= sizeof(name->sun_path)) throw Failure("the path is too long");
    std::memcpy(name->sun_path, address.path.data(), address.path.size());
    size = sizeof(sockaddr_un);
    return storage;
  }
  auto* v4 = reinterpret_cast<sockaddr_in*>(&storage);
  auto* v6 = reinterpret_cast<sockaddr_in6*>(&storage);
  if (::inet_pton(AF_INET, address.host.c_str(), &v4->sin_addr) == 1) {
    v4->sin_family = AF_INET;
    v4->sin_port = htons(address.port);
    size = sizeof(sockaddr_in);
    return storage;
  }
  // Both forms share the storage, so this overwrites the output of the first attempt, if any.
  if (::inet_pton(AF_INET6, address.host.c_str(), &v6->sin6_addr) != 1) {
    throw Failure("not an IP address: " + address.host);
  }
  v6->sin6_family = AF_INET6;
  v6->sin6_port = htons(address.port);
  size = sizeof(sockaddr_in6);
  return storage;
}

std::unique_ptr<tls::Engine> make_engine(const Target& target, BufferPool& pool) {
  const std::string server = target.resume ? to_string(target.address) : "";
  auto engine = tls::Engine::client(target.context, pool, target.server_name, server);
  if (!engine) throw Failure("TLS: " + engine.error().reason);
  return std::move(*engine);
}

}  // namespace

Connection::Connection(const Target& target) : target_(target) {
  socklen_t size = 0;
  const sockaddr_storage storage = resolve(target.address, size);
  fd_ = ::socket(storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd_ < 0) throw_errno("socket");
  ::setsockopt(fd_, SOL_SOCKET, SO_RCVTIMEO, &kPatience, sizeof(kPatience));
  ::setsockopt(fd_, SOL_SOCKET, SO_SNDTIMEO, &kPatience, sizeof(kPatience));
  if (!target.address.is_unix()) {
    const int on = 1;
    ::setsockopt(fd_, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
  }
  if (::connect(fd_, reinterpret_cast<const sockaddr*>(&storage), size) != 0) {
    const int saved = errno;
    ::close(fd_);
    errno = saved;
    throw_errno("connect");
  }
}

Connection::~Connection() {
  ::close(fd_);
}

void Connection::start_tls() {
  engine_ = make_engine(target_, pool_);
  Scratch& memory = scratch();
  std::size_t waiting = 0;
  for (;;) {
    tls::WireOut out = memory.make_out();
    const std::span<const std::byte> wire = std::span{memory.wire}.first(waiting);
    const auto step = engine_->handshake(wire, out);
    send_wire(as_text(out.written()));
    if (!step) throw Failure("handshake: " + step.error().reason);
    if (step->done) {
      // The last flight may bring more: tickets, and perhaps a greeting.
      tls::OpenedRecords opened;
      out = memory.make_out();
      if (auto result = engine_->open(wire.subspan(step->consumed), memory.plain, out, opened);
          !result) {
        throw Failure("TLS: " + result.error().reason);
      }
      send_wire(as_text(out.written()));
      early_ = as_text(std::span{memory.plain}.first(opened.produced));
      ended_ = opened.close_notify;
      return;
    }
    waiting = receive_wire();
    if (waiting == 0) throw Failure("the connection ended inside the handshake");
  }
}

void Connection::send(std::string_view bytes) {
  if (engine_ == nullptr) {
    send_wire(bytes);
    return;
  }
  Scratch& memory = scratch();
  const std::size_t record = target_.record == 0 ? tls::kMaxRecordPlain : target_.record;
  const std::size_t records = std::max<std::size_t>(kSealed / record, 1);
  while (!bytes.empty()) {
    tls::WireOut out = memory.make_out(records * tls::sealed_size_bound(record));
    for (std::size_t i = 0; i < records && !bytes.empty(); ++i) {
      const auto plain = bytes.substr(0, record);
      if (auto result = engine_->seal(std::as_bytes(std::span{plain}), out); !result) {
        throw Failure("TLS: " + result.error().reason);
      }
      bytes.remove_prefix(plain.size());
    }
    send_wire(as_text(out.written()));
  }
}

std::string_view Connection::receive() {
  Scratch& memory = scratch();
  if (!early_.empty()) {
    // Copied into the thread's memory, so that the view is valid as long as any other.
    const std::size_t size =
        early_.copy(reinterpret_cast<char*>(memory.plain.data()), memory.plain.size());
    early_.clear();
    return as_text(std::span{memory.plain}.first(size));
  }
  while (!ended_) {
    const std::size_t size = receive_wire();
    const std::span<const std::byte> wire = std::span{memory.wire}.first(size);
    if (size == 0) {
      ended_ = true;  // without close_notify too: many servers omit it
    } else if (engine_ == nullptr) {
      return as_text(wire);
    } else {
      tls::WireOut out = memory.make_out();
      tls::OpenedRecords opened;
      const auto result = engine_->open(wire, memory.plain, out, opened);
      if (!result) throw Failure("TLS: " + result.error().reason);
      send_wire(as_text(out.written()));
      ended_ = opened.close_notify;
      if (opened.produced > 0) return as_text(std::span{memory.plain}.first(opened.produced));
    }
  }
  return {};
}

std::size_t Connection::receive_wire() {
  std::vector<std::byte>& wire = scratch().wire;
  for (;;) {
    const ssize_t n = ::recv(fd_, wire.data(), wire.size(), 0);
    if (n >= 0) return static_cast<std::size_t>(n);
    if (errno != EINTR) throw_errno("receive");
  }
}

void Connection::send_wire(std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t n = ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (n >= 0) {
      bytes.remove_prefix(static_cast<std::size_t>(n));
    } else if (errno != EINTR) {
      throw_errno("send");
    }
  }
}

}  // namespace starttls::bench
