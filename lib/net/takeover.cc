#include "lib/net/takeover.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <memory>
#include <sstream>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "lib/net/address.h"

namespace starttls::net {
namespace {

/// Returns the name of a process's program; "" if it cannot be read.
std::string program_of(const std::string& process) {
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(
      std::fopen(("/proc/" + process + "/comm").c_str(), "re"), &std::fclose);
  std::array<char, 64> text{};
  if (!file || std::fgets(text.data(), text.size(), file.get()) == nullptr) return {};
  return text.data();
}

struct ListeningSocket {
  std::string local;  // address:port in hexadecimal digits
  ino_t inode = 0;
};

/// Reads the listening sockets of /proc/self/net/tcp, which come first there. Returns none if the
/// file cannot be read.
std::vector<ListeningSocket> listening_sockets(const char* file_name) {
  constexpr std::string_view kListen = "0A";
  std::ifstream file(file_name);
  std::string text;
  std::getline(file, text);  // the heading
  std::vector<ListeningSocket> found;
  while (std::getline(file, text)) {
    std::istringstream line(text);
    ListeningSocket socket;
    std::string other;
    std::string state;
    line >> other >> socket.local >> other >> state;
    for (int i = 0; i < 5; ++i) line >> other;  // queues, timer, retransmits, uid, time-out
    if (!(line >> socket.inode) || state != kListen) break;
    found.push_back(std::move(socket));
  }
  return found;
}

/// True for a process of our user, and for any process if we are root. A process of another user
/// keeps its socket, even if it runs the same program (S11).
bool is_same_user(const ucred& who) noexcept {
  return who.uid == ::geteuid() || ::geteuid() == 0;
}

/// True if a process like this one listens at the path. Only a connection can show that; it ends at
/// once.
bool is_of_our_kind(const std::string& path) {
  sockaddr_un name{};
  name.sun_family = AF_UNIX;
  if (path.size() >= sizeof(name.sun_path)) return false;
  std::memcpy(name.sun_path, path.data(), path.size());
  const Socket probe{::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)};
  if (probe.get() < 0 ||
      ::connect(probe.get(), reinterpret_cast<const sockaddr*>(&name), sizeof(name)) != 0) {
    return false;
  }
  ucred who{};
  socklen_t size = sizeof(who);
  if (::getsockopt(probe.get(), SOL_SOCKET, SO_PEERCRED, &who, &size) != 0) return false;
  if (who.pid <= 0 || who.pid == ::getpid()) return false;
  if (!is_same_user(who)) return false;
  const std::string ours = program_of("self");
  return !ours.empty() && program_of(std::to_string(who.pid)) == ours;
}

}  // namespace

bool is_taken(const Address& address) {
  const auto where = parse_ip(address.host, address.port);
  if (!where) return false;
  const Socket socket{::socket(where->storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0)};
  const int on = 1;
  // Connections of the past are not listeners. Without SO_REUSEPORT no other socket can share the
  // port.
  static_cast<void>(::setsockopt(socket.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)));
  if (where->storage.ss_family == AF_INET6) {
    static_cast<void>(::setsockopt(socket.get(), IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on)));
  }
  return ::bind(socket.get(), where->get(), where->size) != 0 && errno == EADDRINUSE;
}

bool is_shared(const Socket& listening) {
  struct stat status = {};
  sockaddr_storage address{};
  socklen_t size = sizeof(address);
  if (::fstat(listening.get(), &status) != 0 ||
      ::getsockname(listening.get(), reinterpret_cast<sockaddr*>(&address), &size) != 0) {
    return false;
  }
  const auto all = listening_sockets(address.ss_family == AF_INET6 ? "/proc/self/net/tcp6"
                                                                   : "/proc/self/net/tcp");
  const auto ours = std::find_if(all.begin(), all.end(), [&status](const ListeningSocket& each) {
    return each.inode == status.st_ino;
  });
  if (ours == all.end()) return false;
  const auto colon = ours->local.find(':');
  const std::string everywhere = std::string(colon, '0') + ours->local.substr(colon);
  return std::any_of(all.begin(), all.end(), [&](const ListeningSocket& each) {
    return each.inode != ours->inode && (each.local == ours->local || each.local == everywhere);
  });
}

Result<std::optional<Takeover>> Takeover::prepare(const Address& address,
                                                  const std::optional<Owner>& owner) {
  if (!is_of_our_kind(address.path)) return std::optional<Takeover>{};
  static std::atomic<unsigned> number{0};  // several may be in one folder
  Address beside;
  beside.path = address.path.substr(0, address.path.rfind('/') + 1) + ".new-" +
                std::to_string(::getpid()) + "-" + std::to_string(++number);
  auto socket = bind_listener(beside, Taking::ours, owner);
  if (!socket) return fail(std::move(socket.error()));
  return std::optional<Takeover>{
      Takeover(std::move(*socket), address.path, std::move(beside.path))};
}

Takeover::Takeover(Takeover&& other) noexcept
    : socket_(std::move(other.socket_)),
      path_(std::move(other.path_)),
      beside_(std::exchange(other.beside_, {})) {}

Takeover::~Takeover() {
  if (!beside_.empty()) ::unlink(beside_.c_str());
}

Result<> Takeover::may_complete() const {
  const std::string folder = beside_.substr(0, beside_.rfind('/') + 1) + ".";
  if (::faccessat(AT_FDCWD, folder.c_str(), W_OK | X_OK, AT_EACCESS) == 0) return {};
  return fail(Errc::system, "cannot take over unix:" + path_ + ": cannot write to its folder: " +
                                std::generic_category().message(errno) +
                                ": stop the other process first");
}

Result<> Takeover::complete() {
  if (std::rename(beside_.c_str(), path_.c_str()) != 0) {
    return fail(Errc::system, "cannot listen on unix:" + path_ +
                                  ": rename: " + std::generic_category().message(errno));
  }
  beside_.clear();
  return {};
}

}  // namespace starttls::net
