#include "token/loopback.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <system_error>
#include <utility>

namespace starttls::token {
namespace {

using std::chrono::milliseconds;

constexpr std::size_t kMaxConnections = 16;
constexpr std::size_t kMaxRequest = std::size_t{16} << 10U;  // the code of Microsoft has 1.5 KiB
constexpr std::chrono::seconds kRequestLimit{10};

/// Answers a request and gives the browser nothing to keep.
void answer(int fd, std::string_view status, std::string_view words) {
  const std::string body = "<!doctype html><meta charset=utf-8><title>starttls-token</title><p>" +
                           std::string(words) + "\n";
  const std::string text =
      "HTTP/1.1 " + std::string(status) +
      "\r\nContent-Type: text/html; charset=utf-8\r\nContent-Length: " +
      std::to_string(body.size()) +
      "\r\nCache-Control: no-store\r\nReferrer-Policy: no-referrer\r\n"
      "Content-Security-Policy: default-src 'none'\r\nConnection: close\r\n\r\n" +
      body;
  // It fits into the socket's buffer. If the browser is gone, nothing is lost.
  (void)::send(fd, text.data(), text.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
  (void)::shutdown(fd, SHUT_WR);
}

tl::unexpected<Failure> io(std::string_view what) {
  return failed(Exit::io, std::string(what) + ": " + std::generic_category().message(errno));
}

}  // namespace

std::optional<std::string_view> request_target(std::string_view head) noexcept {
  constexpr std::string_view kGet = "GET ";
  const auto line = head.substr(0, head.find("\r\n"));
  if (!line.starts_with(kGet)) return std::nullopt;
  const auto rest = line.substr(kGet.size());
  const auto end = rest.find(' ');
  if (end == std::string_view::npos || !rest.substr(end + 1).starts_with("HTTP/1.")) {
    return std::nullopt;
  }
  return rest.substr(0, end);
}

Outcome<Loopback> Loopback::open(const LoopbackAddress& address) {
  Descriptor listener{::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)};
  if (listener.get() < 0) return io("a socket for the redirect");
  const int on = 1;
  (void)::setsockopt(listener.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  ::sockaddr_in own{};
  own.sin_family = AF_INET;
  own.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  own.sin_port = htons(static_cast<std::uint16_t>(address.port));
  ::socklen_t size = sizeof own;
  if (::bind(listener.get(), reinterpret_cast<const ::sockaddr*>(&own), size) != 0 ||
      ::listen(listener.get(), static_cast<int>(kMaxConnections)) != 0 ||
      ::getsockname(listener.get(), reinterpret_cast<::sockaddr*>(&own), &size) != 0) {
    return io("port " + std::to_string(address.port) + " of 127.0.0.1");
  }
  return Loopback{std::move(listener), "http://" + address.host + ":" +
                                           std::to_string(ntohs(own.sin_port)) + address.path};
}

void Loopback::accept() {
  Descriptor fd{::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK)};
  if (fd.get() < 0) return;  // the peer is gone again
  connections_.push_back({std::move(fd), {}, Clock::now() + kRequestLimit});
}

bool Loopback::read(Connection& connection) {
  std::array<char, 4096> block;
  const auto got = ::read(connection.fd.get(), block.data(), block.size());
  if (got < 0) return errno != EAGAIN && errno != EINTR;
  if (got == 0) return true;
  connection.head.append(block.data(), static_cast<std::size_t>(got));
  wipe(std::span<char>{block});
  return connection.head.find("\r\n\r\n") != std::string::npos ||
         connection.head.size() > kMaxRequest;
}

Outcome<std::optional<Secret>> Loopback::wait(milliseconds limit, const Reader& reader) {
  const auto end = Clock::now() + limit;
  while (true) {
    const auto now = Clock::now();
    std::erase_if(connections_, [now](const Connection& each) { return each.deadline <= now; });
    if (now >= end) return std::nullopt;

    std::vector<::pollfd> polled;
    polled.push_back({listener_.get(),
                      static_cast<short>(connections_.size() < kMaxConnections ? POLLIN : 0), 0});
    for (const auto& each : connections_) polled.push_back({each.fd.get(), POLLIN, 0});
    const auto left = std::chrono::ceil<milliseconds>(end - now);
    if (::poll(polled.data(), polled.size(), static_cast<int>(left.count())) < 0 &&
        errno != EINTR) {
      return io("waiting for the redirect");
    }
    for (std::size_t i = connections_.size(); i-- > 0;) {  // backwards, because some are erased
      if (polled[i + 1].revents == 0 || !read(connections_[i])) continue;
      const Connection connection = std::move(connections_[i]);
      connections_.erase(connections_.begin() + static_cast<std::ptrdiff_t>(i));
      const auto target = request_target(connection.head);
      if (!target) continue;
      auto code = reader(*target);
      if (!code) {
        answer(connection.fd.get(), "200 OK",
               "The provider refused. The reason is in the terminal of starttls-token.");
        return code;
      }
      if (*code) {
        answer(connection.fd.get(), "200 OK",
               "Thank you. starttls-token has the answer. You may close this window.");
        return code;
      }
      answer(connection.fd.get(), "404 Not Found", "There is nothing here.");
    }
    if ((polled.front().revents & POLLIN) != 0) accept();
  }
}

}  // namespace starttls::token
