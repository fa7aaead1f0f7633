#pragma once

// The interface of a leg for the parts of a session. Tests use fakes of it instead of sockets.

#include <cstddef>
#include <span>
#include <string_view>

namespace starttls::session {

/// The part of a leg that a pipe needs.
class Endpoint {
 public:
  virtual void write(std::span<const std::byte> plaintext) = 0;
  /// Returns the number of bytes that wait for the kernel.
  [[nodiscard]] virtual std::size_t queued() const noexcept = 0;
  virtual void pause_reading() noexcept = 0;
  virtual void resume_reading() = 0;
  /// Ends our direction, after all queued bytes.
  virtual void end_write() = 0;

 protected:
  ~Endpoint() = default;
};

/// The part of a leg that a dialogue needs: it also reads, and takes from the input what its role
/// has understood.
class DialogueEndpoint : public Endpoint {
 public:
  /// Returns the bytes that have arrived and were not consumed yet.
  [[nodiscard]] virtual std::string_view input() const noexcept = 0;
  /// Drops the first `bytes` of `input()`. Does nothing if the leg has been finished meanwhile.
  virtual void consume(std::size_t bytes) = 0;
  /// True if bytes that are written now go out. That is false during a handshake, and after a
  /// failed one.
  [[nodiscard]] virtual bool writable() const noexcept = 0;
  /// True if the TLS handshake was completed, even if the leg has failed since.
  [[nodiscard]] virtual bool secured() const noexcept = 0;

 protected:
  ~DialogueEndpoint() = default;
};

}  // namespace starttls::session
