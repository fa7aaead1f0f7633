#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "lib/session/endpoint.h"

namespace starttls::test {

/// A leg without a socket. The test decides how much its kernel accepts.
class FakeEndpoint final : public session::DialogueEndpoint {
 public:
  void write(std::span<const std::byte> bytes) override {
    written.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    if (stalled) waiting += bytes.size();
  }
  [[nodiscard]] std::size_t queued() const noexcept override { return waiting; }
  void pause_reading() noexcept override { ++pauses; }
  void resume_reading() override { ++resumes; }
  void end_write() override { ++ends; }
  [[nodiscard]] std::string_view input() const noexcept override { return arrived; }
  void consume(std::size_t bytes) override { arrived.erase(0, bytes); }
  [[nodiscard]] bool writable() const noexcept override { return !broken; }
  [[nodiscard]] bool secured() const noexcept override { return tls; }

  /// Returns the bytes written since the last call.
  [[nodiscard]] std::string take_written() { return std::exchange(written, {}); }

  std::string arrived;  ///< bytes that are not consumed yet
  std::string written;
  std::size_t waiting = 0;
  bool stalled = false;
  bool broken = false;
  bool tls = false;
  int pauses = 0;
  int resumes = 0;
  int ends = 0;
};

}  // namespace starttls::test
