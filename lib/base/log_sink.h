#pragma once

// The destination of the log's lines. It never waits for the reader: a pipe that no process empties
// must not stop mail.
//
// Regular files are written to at once. For anything else the sink first checks if there is room.
// Lines without room wait, up to a limit, and are tried again with the next line and at each
// `flush`. Lines beyond the limit are lost and counted. The order stays, and lines stay whole.

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "lib/base/error.h"

namespace starttls::log {

/// True if the descriptor leads to systemd's journal. `journal_stream` is the value of the variable
/// JOURNAL_STREAM, "DEVICE:INODE" of such a descriptor (systemd.exec(5)), or null.
[[nodiscard]] bool is_journal(int fd, const char* journal_stream) noexcept;
/// The same with the environment's variable. No thread may change the environment meanwhile.
[[nodiscard]] bool is_journal(int fd) noexcept;
/// Writes "PROGRAM: TEXT" to standard error, for a program that has no log (yet). systemd's journal
/// gets it with the priority of an error. `text` is one line.
void print_error(std::string_view program, std::string_view text) noexcept;

/// Writes lines without waiting. Not thread-safe.
class Sink {
 public:
  /// The most bytes that wait for a reader. Lines of the usual size fill it in some 2000 sessions.
  static constexpr std::size_t kMaxWaiting = 1024UL * 1024;

  /// Writes to standard error until `open` names a file.
  Sink() noexcept;
  Sink(const Sink&) = delete;
  Sink& operator=(const Sink&) = delete;
  ~Sink();

  /// Opens the file; "" = standard error. On an error the old destination stays. Waiting lines go
  /// to the new one. Errors: system.
  [[nodiscard]] Result<> open(const std::string& file);

  /// Writes a line, newline included, or keeps it waiting. Returns false if it is lost.
  bool write(std::string_view line);
  /// Writes waiting lines as far as there is room. Returns true if nothing waits any more.
  bool flush();
  /// True if the lines go to systemd's journal.
  [[nodiscard]] bool to_journal() const noexcept { return is_journal(fd_); }
  /// Returns the number of bytes that wait.
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
