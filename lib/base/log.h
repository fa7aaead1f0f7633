#pragma once

// One event is one line. Whatever a value holds, the line stays one line and its fields stay its
// fields: escaping happens here and nowhere else. To log never waits (see log_sink.h), and the same
// fault is not told without end (see repeats.h).

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

/// A key and what it is worth. Keys are ours; values may come from a peer.
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

/// The line for an event, newline included. `time` is ISO 8601.
/// text: `TIME level=info msg="..." key=value ...`; json: one object with the same keys.
[[nodiscard]] std::string format_line(Format format, std::string_view time, Level level,
                                      std::string_view message, std::span<const Field> fields);

/// Thread-safe: any worker may write.
class Logger {
 public:
  /// Standard error, until `open` names a file.
  Logger(Level level, Format format) noexcept : level_(level), format_(format) {}
  Logger(const Logger&) = delete;
  Logger& operator=(const Logger&) = delete;

  /// Opens (or opens again, after a rotation) the file; "" = standard error. On an error the old
  /// destination stays. Errors: system, its words alone as evidence.
  [[nodiscard]] Result<> open(const std::string& file);

  /// From the next line on.
  void set(Level level, Format format) noexcept {
    level_ = level;
    format_ = format;
  }
  [[nodiscard]] bool enabled(Level level) const noexcept { return level <= level_; }
  void write(Level level, std::string_view message, std::span<const Field> fields);
  void write(Level level, std::string_view message, std::initializer_list<Field> fields) {
    write(level, message, std::span<const Field>{fields.begin(), fields.size()});
  }

  /// An event that may come again and again. `fields` are all of the line's, the fault's among
  /// them. At the level debug each one is told.
  void fault(Level level, Fault fault, std::span<const Field> fields);

  /// To be called every second: tries what waits for room, and tells of faults how often they came
  /// again. False: something still waits, and may be tried soon.
  bool tick();
  /// Before the process ends: tells all that is held back, and waits so long for a reader.
  void finish(std::chrono::milliseconds patience);

  /// The last line of a process that cannot go on, an error with this reason. It does not wait for
  /// long, and never for the calling thread, which may have been in the middle of a line. False: it
  /// was not written.
  bool last_words(std::string_view message, std::string_view reason) noexcept;

  /// Lines that were lost, because nobody read or the disk was full.
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
  void put(std::string_view line);
  void report_repeats(bool everything);
  void report_loss();

  std::atomic<Level> level_;
  std::atomic<Format> format_;
  std::atomic<std::uint64_t> lost_lines_{0};
  std::timed_mutex mutex_;  // guards what follows
  Sink sink_;
  Repeats repeats_;
  std::uint64_t untold_losses_ = 0;
};

}  // namespace starttls::log
