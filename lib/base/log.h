#pragma once

// One event is one line. No value can split the line or add a field to it. All values are escaped
// here, and only here. Logging never waits (see log_sink.h). A fault that repeats is not logged
// without end (see repeats.h).

#include <atomic>
#include <chrono>
#include <cstdint>
#include <initializer_list>
#include <mutex>
#include <span>
#include <string>
#include <string_view>
#include <variant>

#include "lib/base/error.h"
#include "lib/base/log_sink.h"
#include "lib/base/repeats.h"

namespace starttls::log {

enum class Level : std::uint8_t { error, warn, info, debug };
enum class Format : std::uint8_t { text, json };

/// A key and its value. Keys are ours; values may come from a peer.
struct Field {
  using Value = std::variant<std::string_view, std::uint64_t, double, bool>;

  constexpr Field(std::string_view k, std::string_view v) noexcept : key(k), value(v) {}
  constexpr Field(std::string_view k, const char* v) noexcept
      : key(k), value(std::string_view{v}) {}
  Field(std::string_view k, const std::string& v) noexcept : key(k), value(std::string_view{v}) {}
  constexpr Field(std::string_view k, bool v) noexcept : key(k), value(v) {}
  constexpr Field(std::string_view k, double v) noexcept : key(k), value(v) {}
  constexpr Field(std::string_view k, std::uint64_t v) noexcept : key(k), value(v) {}

  std::string_view key;
  Value value;
};

/// Returns the line for an event, newline included. `time` is ISO 8601.
/// text: `TIME level=info msg="..." key=value ...`; json: one object with the same keys.
[[nodiscard]] std::string format_line(Format format, std::string_view time, Level level,
                                      std::string_view message, std::span<const Field> fields);

/// Returns the line for an event in systemd's journal, newline included. The journal keeps the
/// time itself, and takes the priority from the line (sd-daemon(3)). `<6>level=info msg="..." ...`
[[nodiscard]] std::string format_journal_line(Level level, std::string_view message,
                                              std::span<const Field> fields);

/// Writes the log. Thread-safe: any worker may write.
class Logger {
 public:
  /// Logs to standard error until `open` names a file.
  Logger(Level level, Format format) noexcept
      : level_(level), format_(format), to_journal_(sink_.to_journal()) {}
  Logger(const Logger&) = delete;
  Logger& operator=(const Logger&) = delete;

  /// Opens (or opens again, after a rotation) the file; "" = standard error. On an error the old
  /// destination stays. Errors: system; the evidence is the system's words alone.
  [[nodiscard]] Result<> open(const std::string& file);

  /// Sets both from the next line on.
  void set(Level level, Format format) noexcept {
    level_ = level;
    format_ = format;
  }
  [[nodiscard]] bool enabled(Level level) const noexcept { return level <= level_; }
  [[nodiscard]] Format format() const noexcept { return format_; }
  void write(Level level, std::string_view message, std::span<const Field> fields);
  void write(Level level, std::string_view message, std::initializer_list<Field> fields) {
    write(level, message, std::span<const Field>{fields.begin(), fields.size()});
  }

  /// Logs an event that may repeat often, or only counts it (repeats.h). `fields` are all fields of
  /// the line, including those of the fault. At the level debug each event is logged.
  void fault(Level level, Fault fault, std::span<const Field> fields);

  /// Tries the lines that wait for room, and reports how often faults have repeated. Must be called
  /// every second. Returns false if lines still wait; the caller may try again soon.
  bool tick();
  /// Writes everything that is held back, before the process ends. Waits at most `patience` for a
  /// reader.
  void finish(std::chrono::milliseconds patience);
  /// Writes what `finish` would add, so that the next line can be the last one.
  void settle();

  /// Writes the last line of a process that cannot go on: an error with this reason. Waits only
  /// briefly for the lock. The calling thread may hold it, in the middle of a line. Returns false
  /// if the line was not written.
  bool last_words(std::string_view message, std::string_view reason) noexcept;

  /// Returns the number of lines that were lost because no process read them or the disk was full.
  [[nodiscard]] std::uint64_t lost_lines() const noexcept { return lost_lines_; }

  void error(std::string_view message, std::initializer_list<Field> fields) {
    write(Level::error, message, fields);
  }
  void warn(std::string_view message, std::initializer_list<Field> fields) {
    write(Level::warn, message, fields);
  }
  void info(std::string_view message, std::initializer_list<Field> fields) {
    write(Level::info, message, fields);
  }
  void debug(std::string_view message, std::initializer_list<Field> fields) {
    write(Level::debug, message, fields);
  }

 private:
  [[nodiscard]] std::string line(Level level, std::string_view message,
                                 std::span<const Field> fields) const;
  void put(std::string_view line);
  void report_repeats(bool everything);
  void report_loss();

  std::atomic<Level> level_;
  std::atomic<Format> format_;
  std::atomic<std::uint64_t> lost_lines_{0};
  std::timed_mutex mutex_;  // guards what follows, except to_journal_
  Sink sink_;
  std::atomic<bool> to_journal_;
  Repeats repeats_;
  std::uint64_t untold_losses_ = 0;
};

}  // namespace starttls::log
