#include "bench/load/client.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <system_error>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "bench/load/pattern.h"

namespace starttls::bench {
namespace {

constexpr timeval kPatience{60, 0};
constexpr std::size_t kReceive = 256UL * 1024;

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
  // Both forms share the storage: what the first attempt may have written is overwritten.
  if (::inet_pton(AF_INET6, address.host.c_str(), &v6->sin6_addr) != 1) {
    throw Failure("not an IP address: " + address.host);
  }
  v6->sin6_family = AF_INET6;
  v6->sin6_port = htons(address.port);
  size = sizeof(sockaddr_in6);
  return storage;
}

}  // namespace

Client::Client(const Address& address) : fd_(-1), buffer_(kReceive, '\0') {
  socklen_t size = 0;
  const sockaddr_storage storage = resolve(address, size);
  fd_ = ::socket(storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd_ < 0) throw_errno("socket");
  try {
    ::setsockopt(fd_, SOL_SOCKET, SO_RCVTIMEO, &kPatience, sizeof(kPatience));
    ::setsockopt(fd_, SOL_SOCKET, SO_SNDTIMEO, &kPatience, sizeof(kPatience));
    if (!address.is_unix()) {
      const int on = 1;
      ::setsockopt(fd_, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    }
    if (::connect(fd_, reinterpret_cast<const sockaddr*>(&storage), size) != 0) {
      throw_errno("connect");
    }
    reply("220");
  } catch (...) {
    ::close(fd_);
    throw;
  }
}

Client::~Client() {
  ::close(fd_);
}

void Client::hello() {
  command("EHLO load.test\r\n", "250");
}

void Client::commit() {
  hello();
  command("MAIL FROM:<load@load.test>\r\n", "250");
}

void Client::send_message(std::uint64_t octets) {
  command("MAIL FROM:<load@load.test>\r\n", "250");
  command("RCPT TO:<sink@backend.test>\r\n", "250");
  command("DATA\r\n", "354");
  for (std::uint64_t sent = 0; sent < octets;) {
    const auto piece = pattern_at(sent, octets - sent);
    send_all(piece);
    sent += piece.size();
  }
  const std::string answer = command(".\r\n", "250");
  if (answer.find(' ' + std::to_string(octets) + " octets") == std::string::npos ||
      answer.find("pattern intact") == std::string::npos) {
    throw Failure("not what was sent has arrived: " + answer);
  }
}

void Client::fetch(std::uint64_t octets) {
  command("XSEND " + std::to_string(octets) + "\r\n", "250");
  PatternCheck check;
  while (check.octets() < octets) {
    if (unread_.empty() && !receive()) throw Failure("the connection ended too early");
    const auto wanted = octets - check.octets();
    const auto piece = unread_.substr(0, std::min<std::uint64_t>(wanted, unread_.size()));
    check.take(piece);
    unread_.remove_prefix(piece.size());
  }
  if (!check.intact()) throw Failure("not what was sent has arrived");
}

void Client::quit() {
  command("QUIT\r\n", "221");
  if (!unread_.empty() || receive()) throw Failure("octets behind the last reply");
}

std::string Client::command(std::string_view line, std::string_view code) {
  send_all(line);
  return reply(code);
}

std::string Client::reply(std::string_view code) {
  for (;;) {
    std::string line = read_line();
    if (!line.starts_with(code)) throw Failure("wanted " + std::string(code) + ", heard " + line);
    if (line.substr(code.size(), 1) != "-") return line;
  }
}

std::string Client::read_line() {
  constexpr std::size_t kMaxLine = 4096;
  std::string line;
  for (;;) {
    const std::size_t end = unread_.find('\n');
    line += unread_.substr(0, end);
    if (end != std::string_view::npos) {
      unread_.remove_prefix(end + 1);
      if (line.ends_with('\r')) line.pop_back();
      return line;
    }
    unread_ = {};
    if (line.size() > kMaxLine) throw Failure("a reply without end");
    if (!receive()) throw Failure("the connection ended instead of a reply");
  }
}

bool Client::receive() {
  for (;;) {
    const ssize_t n = ::recv(fd_, buffer_.data(), buffer_.size(), 0);
    if (n >= 0) {
      unread_ = std::string_view{buffer_}.substr(0, static_cast<std::size_t>(n));
      return n > 0;
    }
    if (errno != EINTR) throw_errno("receive");
  }
}

void Client::send_all(std::string_view octets) {
  while (!octets.empty()) {
    const ssize_t n = ::send(fd_, octets.data(), octets.size(), MSG_NOSIGNAL);
    if (n >= 0) {
      octets.remove_prefix(static_cast<std::size_t>(n));
    } else if (errno != EINTR) {
      throw_errno("send");
    }
  }
}

}  // namespace starttls::bench
