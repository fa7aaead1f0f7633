#pragma once

// A pipe of the kernel, through which bytes go from one socket to another without a copy.

#include <cstddef>
#include <span>

#include "lib/base/descriptor.h"

namespace starttls::net {

/// Moves bytes between sockets. Like a slab, a loop has one, and it is empty when a callback
/// returns. It is opened when it is first used. If that fails, or if the kernel cannot splice, no
/// byte moves, and the caller reads and writes as usual.
class SplicePipe {
 public:
  /// The bytes that it holds at most: as many as the kernel allows an ordinary user. Each call
  /// wakes the peers, so few large calls cost less than many small ones.
  static constexpr std::size_t kCapacity = 1024UL * 1024;

  /// Moves up to `bytes` from a socket into the pipe, which is empty. Returns their number.
  [[nodiscard]] std::size_t fill(int socket, std::size_t bytes) noexcept;
  /// Moves bytes from the pipe to a socket, as many as its kernel takes. Returns 0, or -errno.
  [[nodiscard]] int drain(int socket) noexcept;
  /// Takes bytes out of the pipe that the socket has not taken. Returns the part of `room` that has
  /// them; all of them if there is room.
  [[nodiscard]] std::span<std::byte> take(std::span<std::byte> room) noexcept;

  [[nodiscard]] bool empty() const noexcept { return size_ == 0; }
  /// False once the kernel has refused to splice: a container may forbid it.
  [[nodiscard]] bool works() const noexcept { return works_; }
  /// Drops all bytes. Only after a failure.
  void discard() noexcept;

 private:
  [[nodiscard]] bool open() noexcept;
  void note_failure() noexcept;

  Descriptor source_;  // bytes come out of it
  Descriptor sink_;    // bytes go into it
  std::size_t size_ = 0;
  bool works_ = true;
};

}  // namespace starttls::net
