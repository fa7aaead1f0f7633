#include "lib/net/splice_pipe.h"

#include <algorithm>
#include <array>
#include <cerrno>

#include <fcntl.h>
#include <unistd.h>

namespace starttls::net {
namespace {

constexpr unsigned kFlags = SPLICE_F_MOVE | SPLICE_F_NONBLOCK;

}  // namespace

bool SplicePipe::open() noexcept {
  if (source_.get() >= 0) return true;
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC | O_NONBLOCK) != 0) return false;
  source_ = Descriptor{ends[0]};
  sink_ = Descriptor{ends[1]};
  // If the user may not have so large a pipe, a smaller one moves fewer bytes per call.
  ::fcntl(sink_.get(), F_SETPIPE_SZ, static_cast<int>(kCapacity));
  return true;
}

std::size_t SplicePipe::fill(int socket, std::size_t bytes) noexcept {
  if (!works_ || !open()) return 0;
  const auto moved =
      ::splice(socket, nullptr, sink_.get(), nullptr, std::min(bytes, kCapacity), kFlags);
  if (moved < 0) note_failure();
  size_ = static_cast<std::size_t>(std::max<ssize_t>(moved, 0));
  return size_;
}

int SplicePipe::drain(int socket) noexcept {
  const auto moved = ::splice(source_.get(), nullptr, socket, nullptr, size_, kFlags);
  if (moved < 0) {
    const int status = -errno;
    note_failure();
    return status;
  }
  size_ -= static_cast<std::size_t>(moved);
  return 0;
}

std::span<std::byte> SplicePipe::take(std::span<std::byte> room) noexcept {
  std::size_t taken = 0;
  while (size_ > 0 && taken < room.size()) {
    const auto count = ::read(source_.get(), room.data() + taken, room.size() - taken);
    if (count <= 0) break;
    taken += static_cast<std::size_t>(count);
    size_ -= static_cast<std::size_t>(count);
  }
  return room.first(taken);
}

void SplicePipe::discard() noexcept {
  source_.reset();
  sink_.reset();
  size_ = 0;
}

/// Gives up splicing for good if the system does not know it or does not allow it. Any other
/// failure is the socket's, and a read or a write reports it.
void SplicePipe::note_failure() noexcept {
  if (errno == ENOSYS || errno == EPERM || errno == EINVAL || errno == EOPNOTSUPP) works_ = false;
}

}  // namespace starttls::net
