#include "lib/base/log_sink.h"

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstdio>
#include <cstdlib>
#include <string_view>
#include <system_error>
#include <utility>

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/base/ascii.h"

namespace starttls::log {

bool is_journal(int fd, const char* journal_stream) noexcept {
  if (journal_stream == nullptr) return false;
  const std::string_view value = journal_stream;
  const auto colon = value.find(':');
  if (colon == std::string_view::npos) return false;
  const auto device = ascii::parse_number(value.substr(0, colon));
  const auto inode = ascii::parse_number(value.substr(colon + 1));
  struct stat status = {};
  return device && inode && ::fstat(fd, &status) == 0 && status.st_dev == *device &&
         status.st_ino == *inode;
}

bool is_journal(int fd) noexcept {
  return is_journal(fd, std::getenv("JOURNAL_STREAM"));
}

void print_error(std::string_view program, std::string_view text) noexcept {
  std::fprintf(stderr, "%s%.*s: %.*s\n", is_journal(STDERR_FILENO) ? "<3>" : "",
               static_cast<int>(program.size()), program.data(), static_cast<int>(text.size()),
               text.data());
}

Sink::Sink() noexcept : fd_(STDERR_FILENO), kind_(kind_of(STDERR_FILENO)) {}

Sink::~Sink() {
  if (fd_ != STDERR_FILENO) ::close(fd_);
}

Sink::Kind Sink::kind_of(int fd) noexcept {
  struct stat status = {};
  if (::fstat(fd, &status) != 0) return Kind::other;
  if (S_ISREG(status.st_mode)) return Kind::regular;
  return S_ISSOCK(status.st_mode) ? Kind::socket : Kind::other;
}

Result<> Sink::open(const std::string& file) {
  int fd = STDERR_FILENO;
  if (!file.empty()) {
    // O_NONBLOCK makes a named pipe without a reader an error instead of an endless wait.
    constexpr int kFlags = O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NONBLOCK | O_NOCTTY;
    fd = ::open(file.c_str(), kFlags, 0640);
    if (fd < 0) {
      const auto why = std::generic_category().message(errno);
      return fail(Errc::system, "cannot open the log: " + file + ": " + why, why);
    }
  }
  if (const int old = std::exchange(fd_, fd); old != STDERR_FILENO) ::close(old);
  kind_ = kind_of(fd_);
  flush();
  return {};
}

/// Writes as much of `text` as there is room for, and returns how much that was. Errors (a full
/// disk, a reader that has gone) count as no room, because both may pass.
std::size_t Sink::write_now(std::string_view text) const {
  std::size_t taken = 0;
  while (taken < text.size()) {
    auto piece = text.substr(taken);
    if (kind_ == Kind::other) {
      // Other processes may share standard error, so its descriptor stays in blocking mode. A pipe
      // that reports room accepts PIPE_BUF bytes without waiting (pipe(7)).
      pollfd ready{.fd = fd_, .events = POLLOUT, .revents = 0};
      if (::poll(&ready, 1, 0) != 1 || (ready.revents & POLLOUT) == 0) break;
      piece = piece.substr(0, PIPE_BUF);
    }
    const auto written = kind_ == Kind::socket
                             ? ::send(fd_, piece.data(), piece.size(), MSG_DONTWAIT | MSG_NOSIGNAL)
                             : ::write(fd_, piece.data(), piece.size());
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) break;
    taken += static_cast<std::size_t>(written);
  }
  return taken;
}

bool Sink::flush() {
  waiting_.erase(0, write_now(waiting_));
  return waiting_.empty();
}

bool Sink::write(std::string_view line) {
  if (flush()) {
    // The rest of a line must follow once its beginning is written.
    waiting_ = line.substr(write_now(line));
    return true;
  }
  if (waiting_.size() + line.size() > kMaxWaiting) return false;
  waiting_ += line;
  return true;
}

}  // namespace starttls::log
