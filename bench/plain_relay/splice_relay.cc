// splice_relay LISTEN_ADDRESS PORT UPSTREAM_ADDRESS PORT
//
// The limit for a proxy where nothing is encrypted: a relay that does nothing but splice. Two
// threads a client each move what waits from one socket into a pipe and from there into the other
// socket. They block, so they need no other system call.

#include <array>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <thread>

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

namespace {

constexpr std::size_t kPipe = 1024UL * 1024;  // as much as the kernel allows an ordinary user
constexpr int kBacklog = 1024;

/// The two sockets of a relay; closed when both of its threads are done.
struct Relay {
  int client = -1;
  int server = -1;

  Relay() = default;
  Relay(const Relay&) = delete;
  Relay& operator=(const Relay&) = delete;
  ~Relay() {
    ::close(client);
    ::close(server);
  }
};

/// Passes bytes on until `from` ends, and then the end.
void pump(int from, int to) {
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) return;
  ::fcntl(ends[1], F_SETPIPE_SZ, static_cast<int>(kPipe));
  for (;;) {
    ssize_t waiting = ::splice(from, nullptr, ends[1], nullptr, kPipe, SPLICE_F_MOVE);
    if (waiting <= 0) break;
    while (waiting > 0) {
      const ssize_t moved =
          ::splice(ends[0], nullptr, to, nullptr, static_cast<std::size_t>(waiting), SPLICE_F_MOVE);
      if (moved <= 0) break;
      waiting -= moved;
    }
    if (waiting > 0) break;
  }
  ::shutdown(to, SHUT_WR);
  ::shutdown(from, SHUT_RD);
  ::close(ends[0]);
  ::close(ends[1]);
}

void serve(int client, const sockaddr_in& upstream) {
  const auto relay = std::make_shared<Relay>();
  relay->client = client;
  relay->server = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (::connect(relay->server, reinterpret_cast<const sockaddr*>(&upstream), sizeof(upstream)) !=
      0) {
    return;
  }
  const int on = 1;
  for (const int socket : {relay->client, relay->server}) {
    ::setsockopt(socket, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
  }
  std::thread([relay] { pump(relay->server, relay->client); }).detach();
  std::thread([relay] { pump(relay->client, relay->server); }).detach();
}

bool read_address(const char* address, const char* port, sockaddr_in& to) {
  to.sin_family = AF_INET;
  to.sin_port = htons(static_cast<std::uint16_t>(std::atoi(port)));
  return ::inet_pton(AF_INET, address, &to.sin_addr) == 1;
}

}  // namespace

int main(int argc, char** argv) {
  sockaddr_in listen_address{};
  sockaddr_in upstream{};
  if (argc != 5 || !read_address(argv[1], argv[2], listen_address) ||
      !read_address(argv[3], argv[4], upstream)) {
    std::fputs("usage: splice_relay LISTEN_ADDRESS PORT UPSTREAM_ADDRESS PORT\n", stderr);
    return EXIT_FAILURE;
  }
  std::signal(SIGPIPE, SIG_IGN);
  const int listener = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  auto* address = reinterpret_cast<sockaddr*>(&listen_address);
  socklen_t size = sizeof(listen_address);
  if (::bind(listener, address, size) != 0 || ::listen(listener, kBacklog) != 0 ||
      ::getsockname(listener, address, &size) != 0) {
    std::perror("splice_relay");
    return EXIT_FAILURE;
  }
  std::printf("listening %s:%d\n", argv[1], ntohs(listen_address.sin_port));
  std::fflush(stdout);
  for (;;) {  // until a signal ends it
    const int client = ::accept4(listener, nullptr, nullptr, SOCK_CLOEXEC);
    if (client < 0) {
      std::perror("splice_relay: accept");
      return EXIT_FAILURE;
    }
    serve(client, upstream);
  }
}
