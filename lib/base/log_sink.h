#pragma once

// Where the lines of the log go, without waiting for whoever reads them: a pipe that nobody empties
// must not stop mail.
//
// Regular files are written to at once. What is no regular file is asked first whether it has room;
// lines for which there is none wait, bounded, and are tried again with the next line and at each
// `flush`. What does not fit any more is lost and counted. The order stays, and so do whole lines.

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "lib/base/error.h"

namespace starttls::log {

/// Not thread-safe.
class Sink {
 public:
  /// Octets that wait for a reader; with the lines' usual size some 2000 sessions.
  static constexpr std::size_t kMaxWaiting = 1024UL * 1024;

  /// Standard error, until `open` names a file.
  Sink() noexcept;
  Sink(const Sink&) = delete;
  Sink& operator=(const Sink&) = delete;
  ~Sink();

  /// Opens the file; "" = standard error. On an error the old destination stays. What waits goes to
  /// the new one. Errors: system.
  [[nodiscard]] Result<> open(const std::string& file);

  /// Takes a line, newline included. False: it is lost.
  bool write(std::string_view line);
  /// Tries what waits. True: nothing waits any more.
  bool flush();
  /// Octets that wait.
  [[nodiscard]] std::size_t waiting() const noexcept { return waiting_.size(); }

 private:
  enum class Kind : std::uint8_t { regular, socket, other };

  static Kind kind_of(int fd) noexcept;
  [[nodiscard]] std::size_t write_now(std::string_view text) const;

  int fd_;
  Kind kind_;
  std::string waiting_;
};

}  // namespace starttls::log
